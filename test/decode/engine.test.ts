import { afterAll, describe, expect, test } from '@jest/globals';
import {
  Engine,
  type EngineOptions,
  type GenerationOptions,
  type GenerationRequest,
} from '../../src/index.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { LONG, talkativeModel, tokensOf } from '../support/decoding.ts';
import { randomRows } from '../support/tiny-model.ts';

const PROMPTS = randomRows(31, [6, 3, 9, 4, 7]);

const model = await talkativeModel();
const engine = new Engine(model);

afterAll(async () => {
  await engine.close();
  await model.dispose();
});

function argmax(values: Float32Array): number {
  return values.reduce((best, value, i) => (value > (values[best] ?? NaN) ? i : best), 0);
}

describe('greedy decoding', () => {
  test('takes the best token of the full forward pass at each step', async () => {
    for (const inputIds of PROMPTS.slice(0, 2)) {
      const [tokenIds = []] = await tokensOf(engine, { inputIds, ...LONG });
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
    const together = await Promise.all(requests.map((request) => tokensOf(engine, request)));
    for (const [i, request] of requests.entries()) {
      expect(await tokensOf(engine, request)).toEqual(together[i]);
    }
  });

  test('in small steps, few at a time, and in small blocks', async () => {
    const requests = PROMPTS.map((inputIds) => ({ inputIds, ...LONG, numBeams: 2 }));
    const expected = await Promise.all(requests.map((request) => tokensOf(engine, request)));
    const options: EngineOptions[] = [
      { maxBatchSize: 2 },
      { maxBatchTokens: 1 },
      { kvCache: { blockSize: 1 } },
      { kvCache: { blockSize: 64 } },
    ];
    for (const option of options) {
      const other = new Engine(model, option);
      const results = await Promise.all(requests.map((request) => tokensOf(other, request)));
      expect(results).toEqual(expected);
      expect(other.stats()).toMatchObject({ queued: 0, running: 0, completed: PROMPTS.length });
      await other.close();
    }
  });

  test('a folded model as well', async () => {
    const folded = await model.fold();
    const other = new Engine(folded);
    const request = { inputIds: PROMPTS[0] ?? [], ...LONG };
    expect(await tokensOf(other, request)).toEqual(await tokensOf(engine, request));
    const { selfAttention } = other.stats().cacheBytesPerToken;
    // K and V, two layers, three heads of 8, float32.
    expect(selfAttention).toBe(2 * 2 * 3 * 8 * 4);
    await folded.dispose();
  });

  test('a failing neighbour disturbs nobody', async () => {
    const [a = [], b = []] = PROMPTS;
    const expected = await tokensOf(engine, { inputIds: a });
    const controller = new AbortController();
    const request = { inputIds: b, maxNewTokens: 500, minNewTokens: 500 };
    const [good, tooMany, aborted] = await Promise.allSettled([
      tokensOf(engine, { inputIds: a }),
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
    const first = await tokensOf(engine, { inputIds, ...options, seed: 1 });
    expect(await tokensOf(engine, { inputIds, ...options, seed: 1 })).toEqual(first);
    expect(await tokensOf(engine, { inputIds, ...options, seed: 2 })).not.toEqual(first);
    expect(new Set(first.map(String)).size).toBeGreaterThan(1);
  });

  test.each<[string, GenerationOptions]>([
    ['topK 1', { topK: 1 }],
    ['a tiny topP', { topP: 1e-9 }],
    ['minP 1', { minP: 1 }],
    ['a tiny temperature', { temperature: 1e-4 }],
  ])('with %s is greedy', async (_name, narrow) => {
    const [greedy] = await tokensOf(engine, { inputIds, ...LONG });
    const samples = await tokensOf(engine, { inputIds, ...options, ...narrow });
    expect(samples).toEqual([greedy, greedy, greedy, greedy]);
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
    expect((await tokensOf(small, { inputIds }))[0]?.length).toBeGreaterThan(0);
    await small.close();
  });
});
