/** Requests of every kind beside each other, engines beside each other and beside training. */
import { describe, expect, test } from '@jest/globals';
import {
  createModel,
  Engine,
  Trainer,
  type EngineOptions,
  type GenerationRequest,
  type Model,
} from '../../src/index.ts';
import { collect, LONG, referencedBlocks, talkativeModel, tokensOf } from '../support/decoding.ts';
import { randomIntegers, randomRows, tinyBatch, TINY_V10 } from '../support/tiny-model.ts';

/** 64 requests that differ in source, length and strategy; some wait for logits processors. */
function mixedRequests(seed: number): GenerationRequest[] {
  const random = randomIntegers(seed);
  const sources = randomRows(seed, [6, 3, 9, 4, 7, 12, 2, 17]);
  return Array.from({ length: 64 }, (_, i) => {
    const inputIds = sources[random(sources.length)] ?? [1];
    // Most go on to the end: what runs long needs blocks that others hold.
    const ends = random(3) === 0 ? { eosTokenId: [1, 50 + random(50)] } : LONG;
    const common = { inputIds, ...ends, maxNewTokens: 1 + random(30) };
    const kinds: GenerationRequest[] = [
      common,
      { ...common, numBeams: 1 + random(4), lengthPenalty: 1.5 },
      { ...common, doSample: true, numReturnSequences: 1 + random(3), seed: i, topP: 0.9 },
      { ...common, repetitionPenalty: 1.3, noRepeatNgramSize: 2 },
      { ...common, decoderInputIds: [4, 8, 15].slice(0, 1 + random(3)) },
      {
        ...common,
        logitsProcessors: [async ({ logits }) => void (await wait(), logits.fill(0, 0, 9))],
      },
    ];
    return kinds[random(kinds.length)] ?? common;
  });
}

async function wait(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

describe('a request among 63 others, some of them aborted, is as alone', () => {
  // The small one holds four sequences of 30 tokens and a source of 17, which is what the largest
  // request takes: blocks of 4 tokens, of 3 heads of 8, in 2 layers.
  const fourSequences = 2 * 2 * 3 * 8 * 4 * 4 * (4 * Math.ceil(30 / 4) + Math.ceil(17 / 4));
  test.each<[string, EngineOptions]>([
    ['ample memory', {}],
    ['constant preemption', { kvCache: { blockSize: 4, maxBytes: fourSequences } }],
    ['one thread, small steps', { threads: 1, maxBatchSize: 5, maxBatchTokens: 1 }],
  ])('%s', async (_name, options) => {
    await using model = await talkativeModel();
    await using alone = new Engine(model);
    await using engine = new Engine(model, options);
    for (const seed of [1, 2]) {
      const requests = mixedRequests(seed);
      const expected: number[][][] = [];
      for (const request of requests) expected.push(await tokensOf(alone, request));
      const results = requests.map(async (request, i) => {
        for (let turn = 0; turn < i % 7; ++turn) await wait();
        if (i % 5 === 4) return abortedTokens(engine, request);
        if (i % 5 === 3) return streamedTokens(engine, request);
        return tokensOf(engine, request);
      });
      for (const [i, result] of (await Promise.all(results)).entries()) {
        if (result !== undefined) expect({ i, tokens: result }).toEqual({ i, tokens: expected[i] });
      }
    }
    const stats = engine.stats();
    expect(referencedBlocks(stats)).toEqual([0, 0]);
    expect([stats.queued, stats.running, stats.held, stats.failed]).toEqual([0, 0, 0, 0]);
    expect(stats.cacheBytes).toBeLessThanOrEqual(stats.maxCacheBytes);
    if (_name === 'constant preemption') expect(stats.preemptions).toBeGreaterThan(0);
  });
});

/** Nothing, or, if the request was quicker than the abort, its tokens. */
async function abortedTokens(engine: Engine, request: GenerationRequest) {
  const controller = new AbortController();
  setTimeout(() => {
    controller.abort();
  }, 2);
  const [outcome] = await Promise.allSettled([
    engine.generate(request, { signal: controller.signal }),
  ]);
  if (outcome.status === 'fulfilled') return outcome.value.sequences.map((s) => s.tokenIds);
  expect(outcome.reason).toMatchObject({ code: 'ABORTED' });
  return undefined;
}

async function streamedTokens(engine: Engine, request: GenerationRequest) {
  if ((request.numBeams ?? 1) > 1) return tokensOf(engine, request);
  const prefix = [...(request.decoderInputIds ?? [])].map(Number);
  const sequences = Array.from({ length: request.numReturnSequences ?? 1 }, () => [...prefix]);
  for (const { sequence, tokenId } of await collect(engine.stream(request))) {
    sequences[sequence]?.push(tokenId);
  }
  return sequences;
}

// Log-probabilities are compared to the bit: every row is computed in one order, whatever is around it.
describe('no bit of a result depends on', () => {
  const source = randomRows(5, [700])[0] ?? [];
  const length = { maxNewTokens: 20, minNewTokens: 20 };
  const request = { inputIds: source, ...length, logProbs: true };
  test.each<[string, EngineOptions, number]>([
    ['others in its steps', {}, 31],
    ['the size of blocks', { kvCache: { blockSize: 7 } }, 0],
    ['the number of threads', { threads: 3 }, 5],
    ['the budget of a step', { maxBatchTokens: 17 }, 3],
  ])('%s', async (_name, options, others) => {
    for (const dtype of ['float32', 'bfloat16'] as const) {
      await using model = await createModel(TINY_V10, { seed: 7, dtype });
      await using alone = new Engine(model, { threads: 1 });
      await using engine = new Engine(model, options);
      const around = randomRows(6, Array<number>(others).fill(40));
      const running = around.map((inputIds) => engine.generate({ ...request, inputIds }));
      const { sequences } = await engine.generate(request);
      expect(sequences).toEqual((await alone.generate(request)).sequences);
      expect(sequences[0]?.logProbs).toHaveLength(20);
      await Promise.all(running);
    }
  });
});

test('engines on one model, while it trains: each result is of the weights of some step', async () => {
  await using model = await createModel({ ...TINY_V10, dropout_rate: 0 }, { seed: 7 });
  await using twin = await createModel({ ...TINY_V10, dropout_rate: 0 }, { seed: 7 });
  const optimizer = { type: 'adamw', learningRate: 1e-2 } as const;
  await using trainer = new Trainer(model, { optimizer });
  await using twinTrainer = new Trainer(twin, { optimizer });
  const engines = [new Engine(model), new Engine(model, { threads: 1 })];
  const request = { inputIds: [5, 6, 7, 1], ...LONG, maxNewTokens: 1, eosTokenId: 39 };
  const states = new Set([String(await firstTokens(twin, request))]);
  let training = true;
  const decoding = engines.map(async (engine) => {
    const seen: string[] = [];
    while (training) seen.push(String(await tokensOf(engine, request)));
    return seen;
  });
  for (let step = 0; step < 6; ++step) {
    const [mine, other] = await Promise.all([trainer, twinTrainer].map((t) => t.step(tinyBatch())));
    expect(mine?.loss).toBe(other?.loss);
    states.add(String(await firstTokens(twin, request)));
  }
  training = false;
  const seen = (await Promise.all(decoding)).flat();
  expect(seen.length).toBeGreaterThan(0);
  expect(seen.filter((tokens) => !states.has(tokens))).toEqual([]);
  // What was cached of earlier weights is not used for later ones.
  for (const engine of engines) {
    expect(String(await tokensOf(engine, request))).toBe(String(await firstTokens(twin, request)));
    await engine.close();
  }
});

async function firstTokens(model: Model, request: GenerationRequest): Promise<number[][]> {
  await using engine = new Engine(model);
  return await tokensOf(engine, request);
}
