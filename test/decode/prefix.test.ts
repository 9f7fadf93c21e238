import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  Engine,
  loadModel,
  loadTokenizer,
  type GenerationOptions,
  type Model,
} from '../../src/index.ts';
import { collect, LONG, saveTextModel, talkativeModel, tokensOf } from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { randomRows } from '../support/tiny-model.ts';
import { unigramTokenizer } from '../tokenizer/fixtures.ts';

const newDirectory = useTemporaryDirectories();
const [INPUT = []] = randomRows(31, [6]);

describe('a forced prefix of token ids', () => {
  let model: Model;
  let engine: Engine;

  beforeAll(async () => {
    model = await talkativeModel();
    engine = new Engine(model);
  });

  afterAll(async () => {
    await model.dispose();
  });

  test.each([1, 7, 23])('of %i tokens is continued as if it had been generated', async (length) => {
    const request = { inputIds: INPUT, ...LONG, logProbs: true };
    const { sequences } = await engine.generate(request);
    const [whole] = sequences;
    const decoderInputIds = whole?.tokenIds.slice(0, length) ?? [];
    const rest = { ...request, decoderInputIds, maxNewTokens: 24 - length };
    const result = await engine.generate(rest);
    expect(result.sequences[0]?.tokenIds).toEqual(whole?.tokenIds);
    expect(result.generatedTokens).toBe(24 - length);
    const logProbs = result.sequences[0]?.logProbs ?? [];
    expect(logProbs).toHaveLength(24 - length);
    // The prefix is fed in another number of steps: the same sums in batches of other sizes.
    for (const [i, value] of logProbs.entries()) {
      expect(value).toBeCloseTo(whole?.logProbs?.[length + i] ?? NaN, 4);
    }
    const chunks = await collect(engine.stream(rest));
    expect(chunks.map(({ tokenId }) => tokenId)).toEqual(whole?.tokenIds.slice(length));
  });

  test.each<[string, GenerationOptions]>([
    ['beams', { numBeams: 3, numReturnSequences: 3 }],
    ['samples', { doSample: true, numReturnSequences: 3, seed: 4 }],
  ])('is what all %s begin with', async (_name, options) => {
    const prefix = [17, 4, 33];
    const request = { inputIds: INPUT, ...LONG, ...options, decoderInputIds: prefix };
    const sequences = await tokensOf(engine, request);
    expect(sequences).toHaveLength(3);
    for (const tokens of sequences) {
      expect(tokens.slice(0, 3)).toEqual(prefix);
      expect(tokens).toHaveLength(3 + LONG.maxNewTokens);
    }
    expect(new Set(sequences.map(String)).size).toBeGreaterThan(1);
  });

  test.each([
    ['beyond the vocabulary', { decoderInputIds: [3, 100] }, 'decoderInputIds[1]'],
    ['that is empty', { decoderInputIds: [] }, 'decoderInputIds'],
    ['as text without tokenizer', { forcedPrefix: 'a' }, 'forcedPrefix'],
    ['both ways', { decoderInputIds: [3], forcedPrefix: 'a' }, 'forcedPrefix'],
  ])('%s is refused', async (_name, options, field) => {
    const error = await errorOf(() => engine.generate({ inputIds: INPUT, ...options }));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  });
});

describe('a forced prefix of text', () => {
  const REQUEST = { prompt: 'abc', maxNewTokens: 8, minNewTokens: 8, forcedPrefix: 'ab é' };

  test('is tokenized without the end token, and begins the text', async () => {
    const directory = newDirectory();
    await saveTextModel(directory);
    await using model = await loadModel(directory);
    await using engine = new Engine(model);
    const tokenizer = await loadTokenizer(directory);
    const [sequence] = (await engine.generate(REQUEST)).sequences;
    const prefix = [...tokenizer.encode('ab é', { addSpecialTokens: false })];
    expect(sequence?.tokenIds.slice(0, prefix.length)).toEqual(prefix);
    expect(sequence?.text).toMatch(/^ab é/);
    expect(sequence?.text).toBe(tokenizer.decode(sequence?.tokenIds ?? []));
    const chunks = await collect(engine.stream(REQUEST));
    expect('ab é' + chunks.map(({ text }) => text).join('')).toBe(sequence?.text);
  });

  test('without a token is refused', async () => {
    const directory = newDirectory();
    const strips = { type: 'Strip', strip_left: true, strip_right: true };
    await saveTextModel(directory, { ...unigramTokenizer(), normalizer: strips });
    await using model = await loadModel(directory);
    await using engine = new Engine(model);
    const error = await errorOf(() => engine.generate({ ...REQUEST, forcedPrefix: '  ' }));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'forcedPrefix' });
  });

  test('does not count for stop strings', async () => {
    const directory = newDirectory();
    await saveTextModel(directory);
    await using model = await loadModel(directory);
    await using engine = new Engine(model);
    const whole = (await engine.generate(REQUEST)).sequences[0]?.text ?? '';
    // The prefix holds it; the generated text comes to it only where the whole text shows.
    const stop = 'b é';
    const behind = whole.indexOf(stop, 'ab é'.length);
    const [sequence] = (await engine.generate({ ...REQUEST, stop })).sequences;
    expect(sequence?.text).toBe(behind < 0 ? whole : whole.slice(0, behind));
  });
});
