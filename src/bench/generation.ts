/** Generation from sources to texts: tokens per second, and what a step costs by context. */
import type { Model } from '../index.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { compare, median, type ChartPoint, type Measurement } from './measurement.ts';
import { sourcesOf } from './sources.ts';

export interface GenerationCase {
  readonly title: string;
  readonly batches: readonly number[];
  readonly sourceTokens: number;
  readonly newTokens: number;
  /** 1: greedy. */
  readonly numBeams: number;
  readonly repetitions: number;
}

/** Tokens per second of decoding by batch, as a multiple of the first batch's. */
export async function measureGeneration(
  model: Model,
  { title, batches, sourceTokens, newTokens, numBeams, repetitions }: GenerationCase,
): Promise<Measurement[]> {
  const how = numBeams === 1 ? 'greedy' : `${String(numBeams)} beams`;
  const series = `${title}, ${model.dtype}, ${how}`;
  const group = `${String(sourceTokens)} source tokens`;
  const measurements: Measurement[] = [];
  let first: number[] | undefined;
  for (const batch of batches) {
    const { rates, firstTokenMilliseconds } = await tokenRates(model, {
      batch,
      sourceTokens,
      newTokens,
      numBeams,
      repetitions,
    });
    first ??= rates;
    measurements.push(
      compare({
        name: `${series}, ${group}, batch ${String(batch)}`,
        limitName: `batch ${String(batches[0])}`,
        unit: 'tokens/s',
        values: rates,
        limits: [median(first)],
        details: { firstTokenMilliseconds, stepMilliseconds: (1000 * batch) / median(rates) },
        points: [{ chart: 'throughput', group, series, x: batch, y: median(rates) }],
      }),
    );
  }
  return measurements;
}

export interface ContextCase {
  readonly title: string;
  readonly batch: number;
  readonly sourceTokens: readonly number[];
  readonly newTokens: number;
  readonly repetitions: number;
}

/** Milliseconds of a step by source length, and as a share of those of `baseline`. */
export async function measureContext(
  model: Model,
  { title, batch, sourceTokens, newTokens, repetitions }: ContextCase,
  baseline: ReadonlyMap<number, number>,
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (const tokens of sourceTokens) {
    const settings = { batch, sourceTokens: tokens, newTokens, numBeams: 1, repetitions };
    const { rates, cacheBytes } = await tokenRates(model, settings);
    const milliseconds = rates.map((rate) => (1000 * batch) / rate);
    const point: ChartPoint = {
      chart: 'context',
      group: `${model.dtype}, batch ${String(batch)}`,
      series: title,
      x: tokens,
      y: median(milliseconds),
    };
    measurements.push(
      compare({
        name: `${title}, ${model.dtype}, batch ${String(batch)}, ${String(tokens)} source tokens`,
        limitName: 'multi-head',
        unit: 'ms',
        values: milliseconds,
        limits: [baseline.get(tokens) ?? median(milliseconds)],
        details: { cacheMiB: cacheBytes / 2 ** 20 },
        points: [point],
      }),
    );
  }
  return measurements;
}

interface RateSettings extends Omit<GenerationCase, 'title' | 'batches'> {
  readonly batch: number;
}

async function tokenRates(
  model: Model,
  { batch, sourceTokens, newTokens, numBeams, repetitions }: RateSettings,
) {
  const sources = sourcesOf(model.config.vocab_size, batch, sourceTokens, batch);
  const mostRows = batch * numBeams;
  await using decoder = new BatchDecoder(model, sources, { mostRows, newTokens });
  const { milliseconds: firstTokenMilliseconds } = await decoder.encode();
  await decoder.decode({ numBeams, newTokens });
  const rates: number[] = [];
  for (let i = 0; i < repetitions; ++i) {
    const { milliseconds } = await decoder.decode({ numBeams, newTokens });
    rates.push((1000 * batch * newTokens) / milliseconds);
  }
  return { rates, firstTokenMilliseconds, cacheBytes: decoder.cacheBytes };
}
