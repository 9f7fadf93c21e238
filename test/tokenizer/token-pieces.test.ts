import { describe, expect, test } from '@jest/globals';
import { loadTokenizer, type TokenPieces } from '../../src/tokenizer/index.ts';
import { errorOf } from '../support/errors.ts';
import { randomIntegers } from '../support/tiny-model.ts';
import {
  byteFallbackTokenizer,
  byteLevelTokenizer,
  directoryWith,
  unigramTokenizer,
} from './fixtures.ts';

/** The text that the pieces of `ids` spell. */
function spell({ bytes, offsets, stripsFirstSpace }: TokenPieces, ids: readonly number[]): string {
  const pieces = ids.map((id) => bytes.subarray(offsets[id], offsets[id + 1]));
  const text = Buffer.concat(pieces).toString('utf8');
  return stripsFirstSpace && text.startsWith(' ') ? text.slice(1) : text;
}

async function tokenizerOf(tokenizer: Record<string, unknown>) {
  return loadTokenizer(await directoryWith({ 'tokenizer.json': tokenizer }));
}

describe('the pieces of tokens, joined, are the text of the tokens', () => {
  test.each([
    ['Metaspace', unigramTokenizer()],
    ['ByteFallback', byteFallbackTokenizer()],
    ['ByteLevel', byteLevelTokenizer()],
    ['no decoder', { ...unigramTokenizer(), decoder: null }],
  ])('%s', async (_name, json) => {
    const tokenizer = await tokenizerOf(json);
    const pieces = tokenizer.tokenPieces();
    expect(pieces.offsets).toHaveLength(tokenizer.vocabSize + 1);
    const texts = ['ab a. é日😀,', 'a b  c', 'é', '日本', 'aab', '. . .'];
    for (const text of texts) {
      const ids = [...tokenizer.encode(text)];
      expect(spell(pieces, ids)).toBe(tokenizer.decode(ids));
    }
  });

  test('for tokens in any order, as a model may generate them', async () => {
    const tokenizer = await tokenizerOf(unigramTokenizer());
    const random = randomIntegers(4);
    for (let i = 0; i < 200; ++i) {
      const ids = Array.from({ length: 1 + random(8) }, () => random(tokenizer.vocabSize));
      expect(spell(tokenizer.tokenPieces(), ids)).toBe(tokenizer.decode(ids));
    }
  });

  test('of the demo model', async () => {
    const tokenizer = await loadTokenizer('demo/model');
    const pieces = tokenizer.tokenPieces();
    const text = 'This package contains the common files: games, fonts & 3 parsers.';
    const ids = [...tokenizer.encode(text)];
    expect(spell(pieces, ids)).toBe(tokenizer.decode(ids));
  });
});

test('special tokens add nothing', async () => {
  const { offsets } = (await tokenizerOf(unigramTokenizer())).tokenPieces();
  expect([...offsets.subarray(0, 4)]).toEqual([0, 0, 0, 0]);
});

test('a byte token adds its byte', async () => {
  const tokenizer = await tokenizerOf(byteFallbackTokenizer());
  const { bytes, offsets } = tokenizer.tokenPieces();
  const id = tokenizer.idOf('<0xE9>') ?? 0;
  expect([...bytes.subarray(offsets[id], offsets[id + 1])]).toEqual([0xe9]);
});

describe('decoders whose tokens depend on each other are refused', () => {
  const fuse = { type: 'Fuse' };
  test.each([
    ['WordPiece', { type: 'WordPiece', prefix: '##' }],
    ['BPEDecoder', { type: 'BPEDecoder', suffix: '</w>' }],
    ['a strip of each token', sequence({ type: 'Strip', content: ' ', start: 1, stop: 0 })],
    ['a strip of more', sequence(fuse, { type: 'Strip', content: ' ', start: 2, stop: 0 })],
    ['a change of the whole', sequence(fuse, replace({ String: 'a' }))],
    ['a regular expression', replace({ Regex: 'a+' })],
  ])('%s', async (_name, decoder) => {
    const tokenizer = await tokenizerOf({ ...unigramTokenizer(), decoder });
    expect(await errorOf(() => tokenizer.tokenPieces())).toMatchObject({
      code: 'UNSUPPORTED',
      field: 'tokenizer.json: decoder',
    });
  });
});

function sequence(...decoders: object[]): object {
  return { type: 'Sequence', decoders };
}

function replace(pattern: object): object {
  return { type: 'Replace', pattern, content: 'b' };
}
