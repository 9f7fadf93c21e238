import { expect, test } from '@jest/globals';
import { join } from 'node:path';
import { readPairs } from '../../src/data/index.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';

const demo = join(import.meta.dirname, '../../demo');

// Segmentations that spm_encode of SentencePiece 0.1.97 gave with the model the files were made of.
const REFERENCE: [string, number[]][] = [
  [
    'summarize: This package contains the development files of the library.',
    [15, 12, 17, 19, 34, 5, 81, 32, 13, 5, 21, 3],
  ],
  [
    'Ünïcödé, naïve cafés & “quotes” – 3.14%',
    [
      16, 8022, 71, 8062, 78, 7708, 39, 4820, 4, 16, 905, 8062, 625, 293, 1857, 4820, 6, 865, 16,
      8189, 4484, 6, 2515, 16, 4597, 377, 2580, 1813,
    ],
  ],
  ['  leading and  double spaces and a tab\there  ', [3975, 24, 7, 2245, 3230, 7, 9, 2379, 2682]],
  [
    '\ufb01ne ligatures and full width ＡＢＣ',
    [3162, 16, 5518, 91, 1495, 6, 7, 371, 4268, 59, 129, 80],
  ],
  ['snowman ☃☃ and 日本語', [215, 3704, 614, 16, 2, 7, 16, 2, 8185]],
  [
    'http://example.org/foo_bar?baz=1',
    [154, 103, 5002, 3, 113, 25, 5968, 79, 1752, 1669, 144, 1914, 1302, 319],
  ],
  [
    'x86_64-linux-gnu---------cross',
    [384, 1313, 79, 490, 10, 2140, 10, 2225, 10, 10, 10, 10, 10, 10, 10, 10, 10, 6765],
  ],
];

test('the shipped tokenizer segments as SentencePiece does', async () => {
  const tokenizer = await loadTokenizer(join(demo, 'model'));
  expect(tokenizer).toMatchObject({ vocabSize: 8192, padTokenId: 0, eosTokenId: 1, unkTokenId: 2 });
  for (const [text, ids] of REFERENCE) expect([...tokenizer.encode(text)]).toEqual([...ids, 1]);
});

test('decoding restores 99.9 % of the test texts', async () => {
  const tokenizer = await loadTokenizer(join(demo, 'model'));
  let total = 0;
  const changed: string[] = [];
  for await (const { source, target } of readPairs(join(demo, 'data/test.jsonl.gz'))) {
    for (const text of [source, target]) {
      total += 1;
      if (tokenizer.decode(tokenizer.encode(text)) !== text) changed.push(text);
    }
  }
  expect(total).toBe(1000);
  expect(changed.length).toBeLessThanOrEqual(1);
});
