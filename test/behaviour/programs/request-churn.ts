/**
 * Decodes thousands of requests of all kinds, many of them aborted at any time, and prints resident
 * memory after each thousand, how late a timer of 5 ms was in each window of ticks, and what the
 * engine still holds.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { createModel, Engine, type GenerationRequest } from '../../../src/index.ts';
import { randomIntegers } from '../../support/tiny-model.ts';

const INTERVAL = 5;
const TICKS_PER_WINDOW = 150;
const AT_ONCE = 64;
const CONFIG = { vocab_size: 500, d_model: 64, d_kv: 16, d_ff: 128, num_layers: 2, num_heads: 4 };

const total = Number(process.argv[2]);
const random = randomIntegers(17);
await using model = await createModel(CONFIG);
// 18 blocks: little more than the largest request has (a source of 3 and 4 beams of 3), so that many
// are preempted whatever the timing of the aborts.
const BLOCK_BYTES = 2 ** 14;
await using engine = new Engine(model, { kvCache: { maxBytes: 18 * BLOCK_BYTES } });

function randomRequest(): GenerationRequest {
  const inputIds = Array.from({ length: 1 + random(40) }, () => 2 + random(3));
  const common = { inputIds, maxNewTokens: 1 + random(40) };
  const kinds: GenerationRequest[] = [
    common,
    { ...common, numBeams: 2 + random(3) },
    { ...common, doSample: true, numReturnSequences: 1 + random(4), seed: random(1000) },
    { ...common, logitsProcessors: [() => undefined] },
  ];
  return kinds[random(kinds.length)] ?? common;
}

async function decodeOne(): Promise<void> {
  const controller = new AbortController();
  const { signal } = controller;
  const abort = () => {
    controller.abort();
  };
  if (random(2) === 0) setTimeout(abort, random(60));
  const request = randomRequest();
  try {
    if (random(3) === 0 && request.numBeams === undefined) {
      for await (const _ of engine.stream(request, { signal })) if (random(50) === 0) break;
    } else {
      await engine.generate(request, { signal });
    }
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

const resident: number[] = [];
let begun = 0;
let ended = 0;

async function decodeMany(): Promise<void> {
  while (begun < total) {
    begun += 1;
    await decodeOne();
    ended += 1;
    if (ended % 1000 === 0) {
      globalThis.gc?.();
      resident.push(process.memoryUsage.rss());
    }
  }
}

const lateness: number[] = [];
let done = false;

async function tick(): Promise<void> {
  while (!done) {
    const start = performance.now();
    await sleep(INTERVAL);
    lateness.push(performance.now() - start - INTERVAL);
  }
}

const ticking = tick();
await Promise.all(Array.from({ length: AT_ONCE }, decodeMany));
done = true;
await ticking;
// A loop that was left aborts its request; the engine hears of it before the next one is done.
await engine.generate({ inputIds: [1], maxNewTokens: 1 });
const { blocks, queued, running, held, ...counts } = engine.stats();
const referenced = blocks.selfAttention.referenced + blocks.crossAttention.referenced;
const left = { queued, running, held, referenced };
const { completed, aborted, failed, preemptions } = counts;
process.stdout.write(
  JSON.stringify({
    resident,
    late99: windows().map(percentile99),
    left,
    completed,
    aborted,
    failed,
    preemptions,
  }),
);

/** The last window is left out unless it is full. */
function windows(): number[][] {
  return Array.from({ length: Math.floor(lateness.length / TICKS_PER_WINDOW) }, (_, i) =>
    lateness.slice(i * TICKS_PER_WINDOW, (i + 1) * TICKS_PER_WINDOW),
  );
}

function percentile99(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(0.99 * values.length)] ?? NaN;
}
