/** Byte-level BPE and WordPiece against their definitions, as short as they can be written. */
import { expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { gunzipSync } from 'node:zlib';
import { join } from 'node:path';
import { loadTokenizer } from '../../src/tokenizer/index.ts';
import { byteLevelTokenizer, directoryWith } from './fixtures.ts';

const FIXTURES = join(import.meta.dirname, '../fixtures/sentencepiece');
const { random, nasty } = JSON.parse(
  gunzipSync(await readFile(join(FIXTURES, 'texts.json.gz'))).toString('utf8'),
) as Record<'random' | 'nasty', string[]>;
const texts = [...random.slice(0, 3000), ...nasty];

/** GPT-2's pattern (Radford et al., 2019). */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu;

/** Merges the best pair of a word, the first of equals, until none is left (Sennrich et al., 2016). */
function mergePairs(word: string[], ranks: ReadonlyMap<string, number>): string[] {
  for (;;) {
    const scores = word.slice(1).map((next, i) => ranks.get(`${word[i]!} ${next}`) ?? Infinity);
    const best = Math.min(...scores);
    if (best === Infinity) return word;
    const at = scores.indexOf(best);
    word = [...word.slice(0, at), word[at]! + word[at + 1]!, ...word.slice(at + 2)];
  }
}

test('byte-level BPE', async () => {
  const json = byteLevelTokenizer();
  const model = json['model'] as { vocab: Record<string, number>; merges: [string, string][] };
  // Keys that are digits come first in an object; the ids are the bytes.
  const characters = Object.keys(model.vocab).toSorted((a, b) => model.vocab[a]! - model.vocab[b]!);
  const pairs = [
    'e r',
    'Ġ t',
    't h',
    'Ġ a',
    'i n',
    'Ġt h',
    'er e',
    'Ġ Ġ',
    'ĠĠ ĠĠ',
    'Ã ©',
    'o o',
    'oo o',
    'o oo',
  ];
  model.merges = pairs.map((pair) => pair.split(' ') as [string, string]);
  for (const [a, b] of model.merges) model.vocab[a + b] ??= Object.keys(model.vocab).length;
  const tokenizer = await loadTokenizer(await directoryWith({ 'tokenizer.json': json }));

  const ranks = new Map(pairs.map((pair, rank) => [pair, rank]));
  const encode = (text: string) =>
    (text.match(WORDS) ?? []).flatMap((word) =>
      mergePairs(
        Array.from(Buffer.from(word), (byte) => characters[byte]!),
        ranks,
      ).map((piece) => model.vocab[piece]!),
    );
  // Long words take this test, not the library, quadratic time. White space is not quite Unicode's in both.
  const short = texts.filter((text) => text.length < 300 && !/[\u0085\ufeff\u180e]/.test(text));
  const got = tokenizer.encodeBatch(short);
  short.forEach((text, i) => {
    expect([text, ...got[i]!]).toEqual([text, ...encode(text)]);
    expect(tokenizer.decode(got[i]!)).toBe(text);
  });
});

test('WordPiece', async () => {
  const pieces =
    '[UNK] [CLS] [SEP] a b c e n t th ##a ##e ##b ##er ##r ##n ##th ##the the 1 ##1 , .'.split(' ');
  const vocab = Object.fromEntries(pieces.map((piece, id) => [piece, id]));
  const json = {
    added_tokens: [],
    normalizer: null,
    pre_tokenizer: { type: 'WhitespaceSplit' },
    post_processor: { type: 'BertProcessing', sep: ['[SEP]', 2], cls: ['[CLS]', 1] },
    decoder: { type: 'WordPiece', prefix: '##', cleanup: false },
    model: { type: 'WordPiece', unk_token: '[UNK]', max_input_chars_per_word: 20, vocab },
  };
  const tokenizer = await loadTokenizer(await directoryWith({ 'tokenizer.json': json }));

  /** The longest piece first, again and again; a word that does not work out is unknown. */
  const encodeWord = (word: string): string[] => {
    const found: string[] = [];
    for (let at = 0; at < word.length;) {
      const prefix = at === 0 ? '' : '##';
      let end = word.length;
      while (end > at && !pieces.includes(prefix + word.slice(at, end))) end -= 1;
      if (end === at || word.length > 20) return ['[UNK]'];
      found.push(prefix + word.slice(at, end));
      at = end;
    }
    return found;
  };
  let state = 7;
  const next = (limit: number) =>
    ((state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0) % (limit * 64)) >> 6;
  for (let i = 0; i < 3000; ++i) {
    const parts = Array.from(
      { length: next(12) },
      () => 'a|b|e|n|er|th|the| |1|,|  |x'.split('|')[next(12)],
    );
    const text = parts.join('');
    const words = text.split(/ +/).filter((word) => word !== '');
    const expected = words.flatMap(encodeWord).map((piece) => vocab[piece]!);
    expect([text, ...tokenizer.encode(text)]).toEqual([text, 1, ...expected, 2]);
    if (expected.includes(0)) continue;
    expect(tokenizer.decode(expected)).toBe(words.join(' '));
  }
});
