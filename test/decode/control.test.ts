import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Engine, loadModel, type EngineOptions, type Model } from '../../src/index.ts';
import {
  collect,
  ENDLESS,
  LONG,
  referencedBlocks,
  saveTextModel,
  talkativeModel,
  tokensOf,
  until,
} from '../support/decoding.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { randomRows, tinyModel } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();
const [INPUT = [], OTHER = []] = randomRows(31, [6, 3]);

let model: Model;

beforeAll(async () => {
  model = await talkativeModel();
});

afterAll(async () => {
  await model.dispose();
});

describe('an engine limits', () => {
  test('how many requests are unfinished', async () => {
    await using engine = new Engine(model, { limits: { requests: 2 } });
    const controller = new AbortController();
    const two = [0, 1].map(() => engine.generate(ENDLESS, { signal: controller.signal }));
    const refused = { code: 'OVERLOADED', field: 'limits.requests' };
    expect(await failureOf(() => engine.generate({ inputIds: INPUT }))).toEqual(refused);
    expect(await failureOf(() => engine.stream({ inputIds: INPUT }).next())).toEqual(refused);
    controller.abort();
    await Promise.allSettled(two);
    expect(await tokensOf(engine, { inputIds: INPUT, ...LONG })).toHaveLength(1);
  });

  test('sources, new tokens and timeouts, naming field and limit', async () => {
    const directory = newDirectory();
    await saveTextModel(directory);
    await using textModel = await loadModel(directory);
    const limits = { inputTokens: 5, newTokens: 10, timeout: 60_000 };
    await using engine = new Engine(textModel, { limits });
    const refusalOf = async (request: object) => {
      const { code, field, allowed } = await errorOf(() => engine.generate(request as never));
      return [code, field, allowed?.match(/^at most \d+/)?.[0]];
    };
    const inputIds = [3, 4, 1];
    const refusals: [object, string, number][] = [
      [{ inputIds: [3, 4, 5, 6, 7, 1], maxNewTokens: 3 }, 'inputIds', 5],
      [{ prompt: 'a b c a b c', maxNewTokens: 3 }, 'prompt', 5],
      [{ inputIds, maxNewTokens: 11 }, 'maxNewTokens', 10],
      // The default of 20 is a request for 20, too.
      [{ inputIds }, 'maxNewTokens', 10],
      [{ inputIds, maxNewTokens: 3, timeout: 60_001 }, 'timeout', 60_000],
    ];
    for (const [request, field, limit] of refusals) {
      expect(await refusalOf(request)).toEqual(['INVALID_ARGUMENT', field, `at most ${limit}`]);
    }
    const full = { inputIds: [3, 4, 5, 6, 1], maxNewTokens: 10, timeout: 60_000 };
    expect((await engine.generate(full)).sequences).toHaveLength(1);
  });

  test.each<[string, object, string]>([
    ['requests', { limits: { requests: 0 } }, 'limits.requests'],
    ['timeout', { limits: { timeout: 0 } }, 'limits.timeout'],
    ['another', { limits: { beams: 3 } }, 'limits.beams'],
    ['threads', { threads: 0 }, 'threads'],
    ['streamBuffer', { streamBuffer: 0 }, 'streamBuffer'],
    ['maxBatchTokens', { maxBatchTokens: 0 }, 'maxBatchTokens'],
  ])('%s within bounds', async (_name, options: EngineOptions, field) => {
    const refused = { code: 'INVALID_ARGUMENT', field };
    expect(await failureOf(() => new Engine(model, options))).toEqual(refused);
  });

  test('a cache without room for a single block refuses every request', async () => {
    await using engine = new Engine(model, { kvCache: { maxBytes: 1 } });
    const refused = { code: 'INVALID_ARGUMENT', field: 'kvCache.maxBytes' };
    for (let i = 0; i < 2; ++i) {
      expect(await failureOf(() => engine.generate({ inputIds: OTHER }))).toEqual(refused);
    }
  });
});

describe('a timeout', () => {
  test('ends a request with TIMEOUT, and no other', async () => {
    await using engine = new Engine(model);
    const expected = await tokensOf(engine, { inputIds: OTHER, ...LONG });
    const late = failureOf(() => engine.generate({ ...ENDLESS, timeout: 20 }));
    expect(await tokensOf(engine, { inputIds: OTHER, ...LONG })).toEqual(expected);
    expect((await late).code).toBe('TIMEOUT');
    const stats = engine.stats();
    expect(referencedBlocks(stats)).toEqual([0, 0]);
    expect([stats.failed, stats.aborted]).toEqual([1, 0]);
  });

  test('comes from the limits where a request has none', async () => {
    await using engine = new Engine(model, { limits: { timeout: 20 } });
    expect((await failureOf(() => engine.generate(ENDLESS))).code).toBe('TIMEOUT');
  });

  test('also ends what is held up', async () => {
    await using engine = new Engine(model);
    const stuck = { inputIds: INPUT, logitsProcessors: [() => new Promise<void>(() => undefined)] };
    expect((await failureOf(() => engine.generate({ ...stuck, timeout: 20 }))).code).toBe(
      'TIMEOUT',
    );
  });
});

test('an abort gives the blocks back before the request rejects', async () => {
  await using engine = new Engine(model);
  const controller = new AbortController();
  const aborted = errorOf(() => engine.generate(ENDLESS, { signal: controller.signal }));
  await until(engine, (stats) => stats.decodeSteps > 5);
  expect(referencedBlocks(engine.stats())[0]).toBeGreaterThan(0);
  controller.abort('enough');
  expect(await aborted).toMatchObject({ code: 'ABORTED', cause: 'enough' });
  const stats = engine.stats();
  expect(referencedBlocks(stats)).toEqual([0, 0]);
  expect([stats.running, stats.aborted]).toEqual([0, 1]);
});

describe('close', () => {
  test('drains: what was submitted is finished, nothing more is taken', async () => {
    const engine = new Engine(model, { maxBatchSize: 1 });
    const request = { inputIds: INPUT, ...LONG };
    const expected = await tokensOf(engine, request);
    const submitted = [0, 1, 2].map(() => tokensOf(engine, request));
    const stream = collect(engine.stream(request));
    const closed = engine.close();
    const late = await failureOf(() => engine.generate(request));
    expect(late.code).toBe('DISPOSED');
    expect(await Promise.all(submitted)).toEqual([expected, expected, expected]);
    expect([(await stream).map(({ tokenId }) => tokenId)]).toEqual(expected);
    await closed;
    expect((await errorOf(() => engine.stats())).code).toBe('DISPOSED');
    await engine.close();
  });

  test('aborts: what is unfinished rejects with DISPOSED', async () => {
    const engine = new Engine(model, { maxBatchSize: 1 });
    const running = failureOf(() => engine.generate(ENDLESS));
    const waiting = failureOf(() => engine.generate(ENDLESS));
    const stream = failureOf(() => collect(engine.stream(ENDLESS)));
    await until(engine, (stats) => stats.decodeSteps > 0);
    await engine.close({ mode: 'abort' });
    const failures = await Promise.all([running, waiting, stream]);
    expect(failures.map(({ code }) => code)).toEqual(['DISPOSED', 'DISPOSED', 'DISPOSED']);
  });

  test('by abort ends a drain that does not', async () => {
    const engine = new Engine(model, { streamBuffer: 1 });
    const unread = engine.stream(ENDLESS);
    await unread.next();
    await until(engine, (stats) => stats.held === 1);
    const drained = engine.close();
    await engine.close({ mode: 'abort' });
    await drained;
    expect((await failureOf(() => collect(unread))).code).toBe('DISPOSED');
  });

  test('has two modes', async () => {
    await using engine = new Engine(model);
    const refused = await failureOf(() => engine.close({ mode: 'soon' as never }));
    expect(refused).toEqual({ code: 'INVALID_ARGUMENT', field: 'mode' });
    expect(await tokensOf(engine, { inputIds: INPUT, ...LONG })).toHaveLength(1);
  });

  test('of an engine that did nothing, or of several at once', async () => {
    const engines = [0, 1, 2].map(() => new Engine(model));
    await Promise.all(engines.map((engine) => engine.close({ mode: 'abort' })));
    await Promise.all(engines.map((engine) => engine.close()));
  });
});

describe('disposing of the model while engines decode', () => {
  test('aborts them, and nothing hangs', async () => {
    const other = await tinyModel();
    const request = { ...ENDLESS, eosTokenId: 39 };
    const engines = [new Engine(other), new Engine(other)];
    const failures = engines.map((engine) => failureOf(() => engine.generate(request)));
    for (const engine of engines) await until(engine, (stats) => stats.decodeSteps > 0);
    await other.dispose();
    expect((await Promise.all(failures)).map(({ code }) => code)).toEqual(['DISPOSED', 'DISPOSED']);
    expect((await failureOf(() => engines[0]?.generate(request))).code).toBe('DISPOSED');
  });

  test('before anything was decoded', async () => {
    const other = await tinyModel();
    const request = { ...ENDLESS, eosTokenId: 39 };
    const failure = failureOf(() => new Engine(other).generate(request));
    await other.dispose();
    expect((await failure).code).toBe('DISPOSED');
  });
});

test('statistics are zeros before the first request, and add up afterwards', async () => {
  await using engine = new Engine(model);
  const { prefixCache, blocks, stepMilliseconds, cacheBytesPerToken, ...counts } = engine.stats();
  expect(prefixCache).toEqual({ lookups: 0, hits: 0, hitRate: 0 });
  expect(blocks.selfAttention).toEqual({ free: 0, cached: 0, referenced: 0, bytesPerBlock: 0 });
  expect(stepMilliseconds).toEqual({ p50: 0, p90: 0, p99: 0, max: 0 });
  expect(cacheBytesPerToken).toEqual({ selfAttention: 0, crossAttention: 0 });
  expect(Object.values(counts).filter((value) => typeof value === 'number' && value !== 0)).toEqual(
    [],
  );
  const request = { inputIds: INPUT, ...LONG };
  const first = await engine.generate(request);
  const second = await engine.generate(request);
  expect(first).toMatchObject({ cachedPromptTokens: 0, preemptions: 0, generatedTokens: 24 });
  expect(second).toMatchObject({ cachedPromptTokens: INPUT.length, generatedTokens: 24 });
  expect(second.sequences).toEqual(first.sequences);
  expect(first.firstTokenMilliseconds).toBeGreaterThan(0);
  const stats = engine.stats();
  expect(stats).toMatchObject({
    completed: 2,
    generatedTokens: 48,
    encodedTokens: INPUT.length,
    sourceCache: { lookups: 2, hits: 1, hitRate: 0.5 },
    maxCacheBytes: 256 * 1024 * 1024,
  });
  const { selfAttention, crossAttention } = stats.blocks;
  const held = [selfAttention, crossAttention].map((kind) => {
    return (kind.cached + kind.referenced) * kind.bytesPerBlock;
  });
  expect(stats.cacheBytes).toBe((held[0] ?? 0) + (held[1] ?? 0));
  // K and V, two layers, three heads of 8, float32.
  expect(stats.cacheBytesPerToken.selfAttention).toBe(2 * 2 * 3 * 8 * 4);
  expect(stats.tokensPerSecond).toBeGreaterThan(0);
  expect(stats.stepMilliseconds.max).toBeGreaterThanOrEqual(stats.stepMilliseconds.p50);
});
