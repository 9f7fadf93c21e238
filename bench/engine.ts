/**
 * The decode engine on T5-small's shape with random weights: what batching gains, what a long source
 * costs the others, and what is held once for many.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createModel, Engine, type GenerationRequest, type Model } from '../src/index.ts';
import { median, type Benchmark, type Measurement } from '../src/bench/measurement.ts';
import { SHAPES } from '../src/bench/shapes.ts';

const T5_SMALL = SHAPES['t5-small'];

const REPETITIONS = 5;
const SOURCE_TOKENS = 64;
const NEW_TOKENS = 64;
const LONG_SOURCE_TOKENS = 4000;
const CACHE_BYTES = 2 ** 30;
const KV_HEADS = T5_SMALL.num_heads / 4;

export async function measureEngine(): Promise<Benchmark> {
  await using model = await createModel(T5_SMALL);
  await using grouped = await model.convert({ kvHeads: KV_HEADS, merge: 'mean' });
  return {
    title: 'decode engine, T5-small, float32',
    measurements: [
      ...(await measureThroughput(model)),
      await measureFirstToken(model, 0),
      await measureFirstToken(model, 8),
      await measureRepeatedSource(model),
      await measureBeams(model),
      await measureSamples(model),
      await measureGroupedBytes(model, grouped),
    ],
  };
}

function newEngine(model: Model): Engine {
  return new Engine(model, { kvCache: { maxBytes: CACHE_BYTES } });
}

let sources = 0;

/** A source that no request had before; ids spread over the vocabulary, the end token left out. */
function newSource(length: number): number[] {
  const first = (sources += 7919);
  return Array.from({ length }, (_, i) => 2 + ((first + 104_729 * i) % (T5_SMALL.vocab_size - 2)));
}

function newRequest(sourceTokens: number, maxNewTokens: number): GenerationRequest {
  return { inputIds: newSource(sourceTokens), maxNewTokens, minNewTokens: maxNewTokens };
}

async function measureThroughput(model: Model): Promise<Measurement[]> {
  const rates = new Map<number, number[]>([
    [1, []],
    [8, []],
    [32, []],
  ]);
  await using engine = newEngine(model);
  await engine.generate(newRequest(SOURCE_TOKENS, 4)); // packs the weights
  for (let repetition = 0; repetition < REPETITIONS; ++repetition) {
    for (const [count, results] of rates) {
      const requests = Array.from({ length: count }, () => newRequest(SOURCE_TOKENS, NEW_TOKENS));
      const start = performance.now();
      await Promise.all(requests.map((request) => engine.generate(request)));
      results.push((1000 * count * NEW_TOKENS) / (performance.now() - start));
    }
  }
  const one = median(rates.get(1) ?? []);
  return [8, 32].map((count) => ({
    name: `${count} greedy requests at once`,
    value: median(rates.get(count) ?? []),
    limitName: 'one alone',
    limit: one,
    unit: 'tokens/s',
    ...(count === 32 ? { wanted: { atLeast: 5 } } : {}),
  }));
}

/** The first token of a short request while a long source is encoded and `streams` others decode. */
async function measureFirstToken(model: Model, streams: number): Promise<Measurement> {
  const idle: number[] = [];
  const loaded: number[] = [];
  const steps: number[] = [];
  for (let repetition = 0; repetition < REPETITIONS; ++repetition) {
    await using engine = newEngine(model);
    await engine.generate(newRequest(16, 2)); // packs the weights
    const stop = new AbortController();
    const others = [LONG_SOURCE_TOKENS, ...Array<number>(streams).fill(16)].map((tokens, i) => ({
      inputIds: newSource(tokens),
      maxNewTokens: i === 0 ? 1 : 2000,
    }));
    const [long, ...streamed] = others;
    const running = streamed.map((request) => engine.generate(request, { signal: stop.signal }));
    while (engine.stats().running < streams) await sleep(1);
    idle.push((await engine.generate(newRequest(16, 2))).firstTokenMilliseconds);
    if (long) running.push(engine.generate(long, { signal: stop.signal }));
    for (let i = 0; i < 8; ++i) {
      await sleep(20);
      loaded.push((await engine.generate(newRequest(16, 2))).firstTokenMilliseconds);
    }
    steps.push(engine.stats().stepMilliseconds.p50);
    stop.abort();
    await Promise.allSettled(running);
  }
  return {
    name: `wait for a first token behind 4,000 source tokens${streams > 0 ? `, ${streams} streams` : ''}`,
    value: Math.max(median(loaded) - median(idle), 0),
    limitName: 'a step',
    limit: median(steps),
    unit: 'ms',
    wanted: { below: 3 },
    details: { idleMilliseconds: median(idle), loadedMilliseconds: median(loaded) },
  };
}

async function measureRepeatedSource(model: Model): Promise<Measurement> {
  const first: number[] = [];
  const again: number[] = [];
  await using engine = newEngine(model);
  await engine.generate(newRequest(16, 2)); // packs the weights
  for (let repetition = 0; repetition < REPETITIONS; ++repetition) {
    const request = newRequest(512, 2);
    first.push((await engine.generate(request)).firstTokenMilliseconds);
    again.push((await engine.generate(request)).firstTokenMilliseconds);
  }
  return {
    name: 'first token of a source of 512 tokens that was seen before',
    value: median(again),
    limitName: 'the first time',
    limit: median(first),
    unit: 'ms',
  };
}

interface Held {
  readonly self: number;
  readonly cross: number;
  readonly bytes: number;
}

/** The most that requests held at once in an engine of their own. */
async function mostHeld(model: Model, requests: readonly GenerationRequest[]): Promise<Held> {
  await using engine = newEngine(model);
  let most = { self: 0, cross: 0, bytes: 0 };
  const decoding = new Set(requests.map((request) => engine.generate(request)));
  for (const each of decoding) void each.finally(() => decoding.delete(each));
  const running = Promise.all(decoding);
  while (decoding.size > 0) {
    const { selfAttention, crossAttention } = engine.stats().blocks;
    most = {
      self: Math.max(most.self, selfAttention.referenced),
      cross: Math.max(most.cross, crossAttention.referenced),
      bytes: Math.max(
        most.bytes,
        selfAttention.referenced * selfAttention.bytesPerBlock +
          crossAttention.referenced * crossAttention.bytesPerBlock,
      ),
    };
    await sleep(1);
  }
  await running;
  return most;
}

/** A forced prefix is a history that all beams share for sure; what they add may differ. */
async function measureBeams(model: Model): Promise<Measurement> {
  const newSequence = (): GenerationRequest => ({
    ...newRequest(SOURCE_TOKENS, NEW_TOKENS),
    decoderInputIds: newSource(192),
  });
  const beams = await mostHeld(model, [{ ...newSequence(), numBeams: 4 }]);
  const four = await mostHeld(model, Array.from({ length: 4 }, newSequence));
  return {
    name: 'self-attention blocks of 4 beams, 192 tokens in common and 64 more',
    value: beams.self,
    limitName: 'four sequences',
    limit: four.self,
    unit: 'blocks',
    wanted: { below: 0.5 },
  };
}

async function measureSamples(model: Model): Promise<Measurement> {
  const request = newRequest(512, NEW_TOKENS);
  const eight = await mostHeld(model, [{ ...request, doSample: true, numReturnSequences: 8 }]);
  const one = await mostHeld(model, [request]);
  return {
    name: 'cross-attention blocks of 8 samples, source of 512 tokens',
    value: eight.cross,
    limitName: 'one sequence',
    limit: one.cross,
    unit: 'blocks',
    wanted: { below: 1.01 },
  };
}

async function measureGroupedBytes(model: Model, grouped: Model): Promise<Measurement> {
  const request = newRequest(512, 128);
  const multiHead = await mostHeld(model, [request]);
  const quarter = await mostHeld(grouped, [request]);
  return {
    name: `cache of a running request, ${KV_HEADS} of ${T5_SMALL.num_heads} KV heads`,
    value: quarter.bytes / 2 ** 20,
    limitName: 'multi-head',
    limit: multiHead.bytes / 2 ** 20,
    unit: 'MiB',
    wanted: { below: 0.251 },
  };
}
