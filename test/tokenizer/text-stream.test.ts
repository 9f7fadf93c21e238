import { describe, expect, test } from '@jest/globals';
import { loadTokenizer, type Tokenizer } from '../../src/tokenizer/index.ts';
import {
  byteFallbackTokenizer,
  byteLevelTokenizer,
  directoryWith,
  unigramTokenizer,
} from './fixtures.ts';

const load = async (files: Record<string, unknown>) =>
  loadTokenizer(await directoryWith({ 'tokenizer.json': files }));

/** The pieces of text that a stream gives for tokens that come one by one. */
function streamed(tokenizer: Tokenizer, ids: Iterable<number>, skipSpecialTokens = true): string[] {
  const stream = tokenizer.createTextStream({ skipSpecialTokens });
  return [...[...ids].map((id) => stream.push([id])), stream.end()];
}

/** Whether no piece cuts a character in two. */
const isWellFormed = (text: string) => Buffer.from(text, 'utf8').toString('utf8') === text;

/** Deterministic pseudo-random ids (a linear congruential generator, Numerical Recipes). */
function randomIds(count: number, limit: number, seed: number): number[] {
  let state = seed;
  return Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * limit);
  });
}

describe('the pieces of a stream, joined, are what decode gives', () => {
  const tokenizers = [
    ['Unigram with Metaspace', unigramTokenizer],
    ['BPE with byte fallback', byteFallbackTokenizer],
    ['byte-level BPE', byteLevelTokenizer],
  ] as const;

  test.each(tokenizers)('%s, text', async (_, make) => {
    const tokenizer = await load(make());
    for (const text of ['ab a  b', ' a', 'a é 日本 😀b', '😀😀', 'a b a\u0301']) {
      const ids = tokenizer.encode(text);
      const pieces = streamed(tokenizer, ids);
      expect(pieces.join('')).toBe(tokenizer.decode(ids));
      expect(pieces.every(isWellFormed)).toBe(true);
    }
  });

  test.each(tokenizers)('%s, random tokens, even where they are no valid text', async (_, make) => {
    const tokenizer = await load(make());
    for (let seed = 1; seed <= 200; seed += 1) {
      const ids = randomIds(24, tokenizer.vocabSize + 3, seed);
      expect(streamed(tokenizer, ids).join('')).toBe(tokenizer.decode(ids));
      expect(streamed(tokenizer, ids, false).join('')).toBe(
        tokenizer.decode(ids, { skipSpecialTokens: false }),
      );
    }
  });
});

test('a word appears with the token that begins it, its space before it', async () => {
  const tokenizer = await load(unigramTokenizer());
  const [space, c] = [tokenizer.idOf('▁') ?? -1, tokenizer.idOf('c') ?? -1];
  expect(streamed(tokenizer, [space, c, space, c, 1])).toEqual(['', 'c', ' ', 'c', '', '']);
});

test('a character is held back until its last byte', async () => {
  const tokenizer = await load(byteLevelTokenizer());
  const ids = tokenizer.encode('a日b');
  expect(streamed(tokenizer, ids)).toEqual(['a', '', '', '日', 'b', '']);
});

test('bytes that never become a character are given at the end', async () => {
  const tokenizer = await load(byteLevelTokenizer());
  const ids = tokenizer.encode('a日').slice(0, -1);
  const pieces = streamed(tokenizer, ids);
  expect(pieces.slice(0, -1).join('')).toBe('a');
  expect(pieces.join('')).toBe(tokenizer.decode(ids));
});

test('after end() a stream starts anew', async () => {
  const tokenizer = await load(unigramTokenizer());
  const stream = tokenizer.createTextStream();
  const ids = tokenizer.encode('c ab');
  expect(stream.push(ids) + stream.end()).toBe('c ab');
  expect(stream.push(ids) + stream.end()).toBe('c ab');
});

test.each([
  [
    'cuts several spaces',
    (decoders: Record<string, unknown>[]) => (decoders.at(-1)!['start'] = 3),
    3,
  ],
  [
    'cuts one twice',
    (decoders: Record<string, unknown>[]) =>
      (decoders[0] = { type: 'Metaspace', replacement: '▁' }),
    4,
  ],
])('where a decoder %s, text comes at the end', async (_, change, spaces) => {
  const json = byteFallbackTokenizer();
  change((json['decoder'] as { decoders: Record<string, unknown>[] }).decoders);
  const tokenizer = await load(json);
  const ids = tokenizer.encode('     a', { addSpecialTokens: false });
  const text = `${' '.repeat(spaces)}a`;
  expect(tokenizer.decode(ids)).toBe(text);
  expect(streamed(tokenizer, ids).at(-1)).toBe(text);
});

test('bytes in a row are one text, which an invalid byte makes invalid', async () => {
  const tokenizer = await load(byteFallbackTokenizer());
  const byte = (value: number) => tokenizer.idOf(`<0x${value.toString(16).toUpperCase()}>`)!;
  const ids = [...Buffer.from('é')].map(byte);
  const a = tokenizer.idOf('a')!;
  expect(streamed(tokenizer, [...ids, a])).toEqual(['', '', 'éa', '']);
  expect(streamed(tokenizer, [...ids, byte(0xff), a])).toEqual([
    '',
    '',
    '',
    '\ufffd'.repeat(3) + 'a',
    '',
  ]);
});

test('bytes that are no text take no more work the more they are', async () => {
  const tokenizer = await load(byteLevelTokenizer());
  const invalid = tokenizer.encode('日')[0]!;
  const ids = new Array<number>(20_000).fill(invalid);
  const started = performance.now();
  const pieces = streamed(tokenizer, ids);
  expect(performance.now() - started).toBeLessThan(10_000);
  expect(pieces.join('')).toBe('\ufffd'.repeat(20_000));
  expect(pieces.slice(0, 100).join('').length).toBeGreaterThan(80);
});
