import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  Engine,
  loadModel,
  type EngineOptions,
  type GenerationOptions,
  type GenerationRequest,
  type Model,
} from '../../src/index.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { goldenModelDirectory } from '../support/golden.ts';
import { randomRows, tinyModel } from '../support/tiny-model.ts';

const PROMPTS = randomRows(31, [6, 3, 9, 4, 7]);
/** The model likes to end at once; a token it never generates in place of its end token. */
const LONG = { maxNewTokens: 24, eosTokenId: 99 } as const;

let model: Model;
let engine: Engine;

beforeAll(async () => {
  const source = await loadModel(goldenModelDirectory('t5v11-wgqa3'));
  model = await source.convert({ kvHeads: 3, merge: 'weighted' });
  await source.dispose();
  engine = new Engine(model);
});

afterAll(async () => {
  await engine.close();
  await model.dispose();
});

async function tokensOf(request: GenerationRequest, on = engine): Promise<number[][]> {
  const { sequences } = await on.generate(request);
  return sequences.map((sequence) => sequence.tokenIds);
}

function argmax(values: Float32Array): number {
  return values.reduce((best, value, i) => (value > (values[best] ?? NaN) ? i : best), 0);
}

describe('greedy decoding', () => {
  test('takes the best token of the full forward pass at each step', async () => {
    for (const inputIds of PROMPTS.slice(0, 2)) {
      const [tokenIds = []] = await tokensOf({ inputIds, ...LONG });
      const decoderInputIds = [[0, ...tokenIds.slice(0, -1)]];
      const { logits } = await model.forward({ inputIds: [inputIds], decoderInputIds });
      const vocab = model.config.vocab_size;
      const best = tokenIds.map((_, i) => argmax(logits.data.slice(i * vocab, (i + 1) * vocab)));
      expect(tokenIds).toHaveLength(24);
      expect(best).toEqual(tokenIds);
    }
  });

  test('ends at the end token or at maxNewTokens, and says which', async () => {
    const [inputIds = []] = PROMPTS;
    const { sequences, promptTokens, generatedTokens } = await engine.generate({
      inputIds,
      ...LONG,
      maxNewTokens: 3,
    });
    expect(sequences).toMatchObject([{ finishReason: 'length' }]);
    expect([promptTokens, generatedTokens]).toEqual([inputIds.length, 3]);
    const [first = 0] = sequences[0]?.tokenIds ?? [];
    const ended = await engine.generate({ inputIds, eosTokenId: [98, first] });
    expect(ended.sequences).toMatchObject([{ tokenIds: [first], finishReason: 'stop' }]);
  });

  test('returns log-probabilities of the model on request', async () => {
    const [inputIds = []] = PROMPTS;
    const { sequences } = await engine.generate({ inputIds, ...LONG, logProbs: true });
    const { tokenIds = [], logProbs = [] } = sequences[0] ?? {};
    const decoderInputIds = [[0, ...tokenIds.slice(0, -1)]];
    const { loss } = await model.forward({
      inputIds: [inputIds],
      decoderInputIds,
      labels: [tokenIds],
    });
    const mean = logProbs.reduce((sum, value) => sum + value, 0) / logProbs.length;
    expect(logProbs).toHaveLength(tokenIds.length);
    expect(-mean).toBeCloseTo(loss ?? NaN, 4);
  });
});

describe('whatever else runs in the batch, a request gets the same tokens', () => {
  test.each<[string, GenerationOptions]>([
    ['greedy', {}],
    ['beam search', { numBeams: 3, numReturnSequences: 2 }],
    ['sampling', { doSample: true, numReturnSequences: 2, seed: 5 }],
    ['penalties', { repetitionPenalty: 1.5, noRepeatNgramSize: 2 }],
  ])('%s', async (_name, options) => {
    const requests = PROMPTS.map((inputIds) => ({ inputIds, ...LONG, ...options }));
    const together = await Promise.all(requests.map((request) => tokensOf(request)));
    for (const [i, request] of requests.entries()) {
      expect(await tokensOf(request)).toEqual(together[i]);
    }
  });

  test('in waves of few, and in small blocks', async () => {
    const requests = PROMPTS.map((inputIds) => ({ inputIds, ...LONG, numBeams: 2 }));
    const expected = await Promise.all(requests.map((request) => tokensOf(request)));
    const options: EngineOptions[] = [
      { maxBatchSize: 2 },
      { maxBatchTokens: 1 },
      { kvCache: { blockSize: 1 } },
      { kvCache: { blockSize: 64 } },
    ];
    for (const option of options) {
      const other = new Engine(model, option);
      const results = await Promise.all(requests.map((request) => tokensOf(request, other)));
      expect(results).toEqual(expected);
      expect(other.stats()).toMatchObject({ queued: 0, running: 0, completed: PROMPTS.length });
      await other.close();
    }
  });

  test('a folded model as well', async () => {
    const folded = await model.fold();
    const other = new Engine(folded);
    const request = { inputIds: PROMPTS[0] ?? [], ...LONG };
    expect(await tokensOf(request, other)).toEqual(await tokensOf(request));
    const { selfAttention } = other.stats().cacheBytesPerToken;
    // K and V, two layers, three heads of 8, float32.
    expect(selfAttention).toBe(2 * 2 * 3 * 8 * 4);
    await folded.dispose();
  });

  test('a failing neighbour disturbs nobody', async () => {
    const [a = [], b = []] = PROMPTS;
    const expected = await tokensOf({ inputIds: a });
    const controller = new AbortController();
    const request = { inputIds: b, maxNewTokens: 500, minNewTokens: 500 };
    const [good, tooMany, aborted] = await Promise.allSettled([
      tokensOf({ inputIds: a }),
      engine.generate({ inputIds: b, numBeams: 99 }),
      engine.generate(request, { signal: controller.signal }),
      new Promise((resolve) => setImmediate(resolve)).then(() => {
        controller.abort('enough');
      }),
    ]);
    expect(good).toEqual({ status: 'fulfilled', value: expected });
    expect(tooMany).toMatchObject({ reason: { code: 'INVALID_ARGUMENT', field: 'numBeams' } });
    expect(aborted).toMatchObject({ reason: { code: 'ABORTED', cause: 'enough' } });
  });
});

describe('sampling', () => {
  const options = { doSample: true, ...LONG, numReturnSequences: 4 } as const;
  const inputIds = PROMPTS[2] ?? [];

  test('repeats with the seed and differs without', async () => {
    const first = await tokensOf({ inputIds, ...options, seed: 1 });
    expect(await tokensOf({ inputIds, ...options, seed: 1 })).toEqual(first);
    expect(await tokensOf({ inputIds, ...options, seed: 2 })).not.toEqual(first);
    expect(new Set(first.map(String)).size).toBeGreaterThan(1);
  });

  test.each<[string, GenerationOptions]>([
    ['topK 1', { topK: 1 }],
    ['a tiny topP', { topP: 1e-9 }],
    ['minP 1', { minP: 1 }],
    ['a tiny temperature', { temperature: 1e-4 }],
  ])('with %s is greedy', async (_name, narrow) => {
    const [greedy] = await tokensOf({ inputIds, ...LONG });
    const samples = await tokensOf({ inputIds, ...options, ...narrow });
    expect(samples).toEqual([greedy, greedy, greedy, greedy]);
  });
});

describe('streaming', () => {
  test('yields the tokens of generate, one by one', async () => {
    const [inputIds = []] = PROMPTS;
    const tokens: number[] = [];
    for await (const chunk of engine.stream({ inputIds, ...LONG })) {
      expect(chunk.text).toBeUndefined();
      tokens.push(chunk.tokenId);
    }
    expect([tokens]).toEqual(await tokensOf({ inputIds, ...LONG }));
  });

  test('ends the request when the loop is left or the signal fires', async () => {
    const [inputIds = []] = PROMPTS;
    const request = { inputIds, maxNewTokens: 2000, minNewTokens: 2000 };
    for await (const chunk of engine.stream(request)) {
      expect(chunk.tokenId).toBeGreaterThanOrEqual(0);
      break;
    }
    const controller = new AbortController();
    const stream = engine.stream(request, { signal: controller.signal });
    await stream.next();
    controller.abort();
    const rest = async () => {
      for await (const chunk of stream) expect(chunk.tokenId).toBeGreaterThanOrEqual(0);
    };
    expect((await errorOf(rest)).code).toBe('ABORTED');
    // The engine is free again at once.
    expect((await tokensOf({ inputIds, maxNewTokens: 2 }))[0]?.length).toBeGreaterThan(0);
  });

  test('is refused for beams and several sequences', async () => {
    const inputIds = [3, 1];
    const next = (options: GenerationOptions) => () =>
      engine.stream({ inputIds, ...options }).next();
    expect((await errorOf(next({ numBeams: 2 }))).field).toBe('numBeams');
    const several = { doSample: true, numReturnSequences: 2 };
    expect((await errorOf(next(several))).field).toBe('numReturnSequences');
  });
});

describe('an engine refuses', () => {
  const inputIds = [3, 1];
  test.each<[string, unknown, string]>([
    ['nothing', undefined, 'prompt'],
    ['both prompt and ids', { prompt: 'a', inputIds }, 'prompt'],
    ['an empty prompt', { prompt: '' }, 'prompt'],
    ['a prompt without tokenizer', { prompt: 'a' }, 'prompt'],
    ['stop strings without tokenizer', { inputIds, stop: 'a' }, 'stop'],
    ['no ids', { inputIds: [] }, 'inputIds'],
    ['ids that are text', { inputIds: 'abc' }, 'inputIds'],
    ['an id beyond the vocabulary', { inputIds: [3, 100] }, 'inputIds[1]'],
    ['numBeams 0', { inputIds, numBeams: 0 }, 'numBeams'],
    ['maxNewTokens 0', { inputIds, maxNewTokens: 0 }, 'maxNewTokens'],
    ['minNewTokens beyond', { inputIds, minNewTokens: 9, maxNewTokens: 8 }, 'minNewTokens'],
    [
      'more sequences than beams',
      { inputIds, numBeams: 2, numReturnSequences: 3 },
      'numReturnSequences',
    ],
    ['two greedy sequences', { inputIds, numReturnSequences: 2 }, 'numReturnSequences'],
    ['temperature 0', { inputIds, doSample: true, temperature: 0 }, 'temperature'],
    ['topP 0', { inputIds, doSample: true, topP: 0 }, 'topP'],
    ['topP 1.1', { inputIds, doSample: true, topP: 1.1 }, 'topP'],
    ['a negative topK', { inputIds, topK: -1 }, 'topK'],
    ['a wrong earlyStopping', { inputIds, earlyStopping: 'always' }, 'earlyStopping'],
    ['repetitionPenalty 0', { inputIds, repetitionPenalty: 0 }, 'repetitionPenalty'],
    ['an end token beyond the vocabulary', { inputIds, eosTokenId: [1, 100] }, 'eosTokenId'],
    ['an empty stop string', { inputIds, stop: [''] }, 'stop'],
    ["Hugging Face's own spelling", { inputIds, num_beams: 2 }, 'num_beams'],
  ])('%s', async (_name, request, field) => {
    const error = await errorOf(() => engine.generate(request as GenerationRequest));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  });

  test.each<[string, object, string]>([
    ['blocks of 0 tokens', { kvCache: { blockSize: 0 } }, 'kvCache.blockSize'],
    ['a cache type that is none', { kvCache: { dtype: 'int4' } }, 'kvCache.dtype'],
    ['a batch of 0', { maxBatchSize: 0 }, 'maxBatchSize'],
    ['a tokenizer that is none', { tokenizer: {} }, 'tokenizer'],
  ])('%s', async (_name, options, field) => {
    expect(await failureOf(() => new Engine(model, options))).toEqual({
      code: 'INVALID_ARGUMENT',
      field,
    });
  });

  test('a source or target that the cache cannot hold', async () => {
    const small = new Engine(model, { kvCache: { maxBytes: 100_000 } });
    const long = Array.from({ length: 5000 }, () => 3);
    expect((await errorOf(() => small.generate({ inputIds: long }))).code).toBe('OUT_OF_MEMORY');
    const far = { inputIds, maxNewTokens: 100_000 };
    expect((await errorOf(() => small.generate(far))).code).toBe('OUT_OF_MEMORY');
    expect((await tokensOf({ inputIds }, small))[0]?.length).toBeGreaterThan(0);
    await small.close();
  });
});

test('defaults come from generation_config.json', async () => {
  const { parseGenerationDefaults } = await import('../../src/decode/options.ts');
  const parse = (json: Record<string, unknown>) => parseGenerationDefaults(json, 'g.json');
  expect(
    parse({ max_length: 64, num_beams: 4, early_stopping: true, eos_token_id: [1, 2] }),
  ).toEqual({
    maxNewTokens: 63,
    numBeams: 4,
    earlyStopping: true,
    eosTokenId: [1, 2],
  });
  expect(parse({ max_length: 20 })).toEqual({ maxNewTokens: 20 });
  expect(parse({ max_new_tokens: 7, max_length: 64, top_k: null })).toEqual({ maxNewTokens: 7 });
  expect(() => parse({ num_beams: 0 })).toThrow(
    expect.objectContaining({ code: 'INVALID_FILE', field: 'num_beams' }),
  );
});

test('after close, the engine is unusable; what waited is rejected, what ran is finished', async () => {
  const other = await tinyModel();
  const closing = new Engine(other, { maxBatchSize: 1 });
  const request = { inputIds: [3, 1], maxNewTokens: 50, minNewTokens: 50 };
  const running = closing.generate(request);
  const waiting = closing.generate(request);
  const settled = Promise.allSettled([running, waiting]);
  while (closing.stats().running === 0) await new Promise((resolve) => setImmediate(resolve));
  await closing.close();
  const [first, second] = await settled;
  expect(first).toMatchObject({ status: 'fulfilled', value: { generatedTokens: 50 } });
  expect(second).toMatchObject({ status: 'rejected', reason: { code: 'DISPOSED' } });
  expect((await errorOf(() => closing.generate(request))).code).toBe('DISPOSED');
  await other.dispose();
});
