import { beforeAll, describe, expect, test } from '@jest/globals';
import type { DecodeTask } from '../../src/decode/request-reader.ts';
import { SequenceChunks } from '../../src/decode/sequence-chunks.ts';
import { loadTokenizer, type Tokenizer } from '../../src/index.ts';
import { byteLevelTokenizer, directoryWith } from '../tokenizer/fixtures.ts';

let tokenizer: Tokenizer;

beforeAll(async () => {
  tokenizer = await loadTokenizer(await directoryWith({ 'tokenizer.json': byteLevelTokenizer() }));
});

/** The chunks after each byte of `text`, and those at the end. */
function chunksOf(text: string, options: object = {}): (readonly (string | undefined)[])[] {
  const task = {
    tokenizer,
    stops: [],
    forcedPrefix: new Int32Array(),
    options: { eosTokenIds: [255], maxNewTokens: 100, logProbs: false },
    ...options,
  } as unknown as DecodeTask;
  const sequence = new SequenceChunks(0, task);
  const pushed = [...Buffer.from(text, 'latin1')].map((byte) => sequence.push(byte, 0));
  return [...pushed, sequence.end()].map((chunks) => chunks.map((chunk) => chunk.text));
}

describe('chunks of a sequence', () => {
  test('come with their token where its text is final', () => {
    expect(chunksOf('ab')).toEqual([['a'], ['b'], []]);
  });

  test('wait for the rest of a character', () => {
    // The two bytes of \u00e9.
    expect(chunksOf('a\u00c3\u00a9b')).toEqual([['a'], [], ['', '\u00e9'], ['b'], []]);
  });

  test('wait for what may become a stop string, and end with it', () => {
    expect(chunksOf('axay', { stops: ['ab'] })).toEqual([[], ['', 'ax'], [], ['', 'ay'], []]);
    expect(chunksOf('xabcd', { stops: ['abc'] })).toEqual([['x'], [], [''], ['', ''], [], []]);
  });

  test('end with what was held back, when the sequence does', () => {
    expect(chunksOf('xa', { stops: ['ab'] })).toEqual([['x'], [], ['a']]);
    const last = { eosTokenIds: [255], maxNewTokens: 2, logProbs: false };
    expect(chunksOf('xa', { stops: ['ab'], options: last })).toEqual([['x'], ['a'], []]);
    expect(chunksOf('x\u00c3')).toEqual([['x'], [], ['\ufffd']]);
  });

  test('take a forced prefix for granted', () => {
    const forcedPrefix = Int32Array.from(Buffer.from('xa'));
    expect(chunksOf('bc', { stops: ['ab'], forcedPrefix })).toEqual([['b'], ['c'], []]);
  });
});
