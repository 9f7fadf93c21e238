import { expect, test } from '@jest/globals';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadDataset, tokenizePairs, type TokenEncoder } from '../../src/data/index.ts';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { directoryWith, unigramTokenizer } from '../tokenizer/fixtures.ts';

/** One token per byte, and the end token 1. */
const bytes: TokenEncoder = {
  encode: (text) => Int32Array.from([...Buffer.from(text), 1]),
  eosTokenId: 1,
};

test('long texts lose their end and keep the end token', async () => {
  const pairs = [
    { source: 'AAAA', target: 'BBB' },
    { source: 'AAA', target: 'BB' },
  ];
  const limits = { maxSourceTokens: 4, maxTargetTokens: 3 };
  expect(await tokenizePairs(pairs, bytes, limits)).toEqual([
    { inputIds: Int32Array.of(65, 65, 65, 1), labels: Int32Array.of(66, 66, 1) },
    { inputIds: Int32Array.of(65, 65, 65, 1), labels: Int32Array.of(66, 66, 1) },
  ]);
});

test('without an end token a long text is simply cut', async () => {
  const bare: TokenEncoder = {
    encode: (text) => bytes.encode(text).slice(0, -1),
    eosTokenId: undefined,
  };
  const [example] = await tokenizePairs([{ source: 'ABCD', target: 'E' }], bare, {
    maxSourceTokens: 2,
  });
  expect(example).toEqual({ inputIds: Int32Array.of(65, 66), labels: Int32Array.of(69) });
});

test('other work gets its turn while many pairs are encoded', async () => {
  const pairs = Array.from({ length: 200 }, () => ({ source: 'x', target: 'y' }));
  const slow: TokenEncoder = {
    encode(text) {
      const end = performance.now() + 0.5;
      while (performance.now() < end);
      return bytes.encode(text);
    },
    eosTokenId: 1,
  };
  let turns = 0;
  const timer = setInterval(() => (turns += 1), 1);
  await tokenizePairs(pairs, slow);
  clearInterval(timer);
  // A pair takes 1 ms or more and a slice ends after 4: at least 40 turns, however slow the machine.
  expect(turns).toBeGreaterThanOrEqual(30);
});

test('an abort signal ends it', async () => {
  const reason = new Error('enough');
  const endless = (function* () {
    for (;;) yield { source: 'x', target: 'y' };
  })();
  const controller = new AbortController();
  setTimeout(() => {
    controller.abort(reason);
  }, 20);
  await expect(tokenizePairs(endless, bytes, { signal: controller.signal })).rejects.toMatchObject({
    code: 'ABORTED',
    cause: reason,
  });
});

test.each([
  ['maxSourceTokens', { maxSourceTokens: 1 }],
  ['maxTargetTokens', { maxTargetTokens: 2.5 }],
])('%s out of range is refused', async (field, options) => {
  await expect(tokenizePairs([], bytes, options)).rejects.toMatchObject({
    code: 'INVALID_ARGUMENT',
    field,
  });
});

test('loadDataset goes from file to batches, and refuses options it does not know', async () => {
  const directory = await directoryWith({ 'tokenizer.json': unigramTokenizer() });
  const path = join(directory, 'pairs.jsonl');
  await writeFile(path, '{"source":"c","target":"ab"}\n{"source":"c c","target":"c"}\n');
  const tokenizer = await loadTokenizer(directory);
  const options = { batchSize: 2, shuffle: false, maxSourceTokens: 4 };
  const dataset = await loadDataset(path, tokenizer, options);
  expect([...dataset.batches(0)]).toEqual([
    {
      inputIds: [tokenizer.encode('c'), Int32Array.of(3, 6, 3, 1)],
      labels: [tokenizer.encode('ab'), tokenizer.encode('c')],
    },
  ]);
  await expect(
    loadDataset(path, tokenizer, { ...options, size: 3 } as never),
  ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', field: 'size' });
});
