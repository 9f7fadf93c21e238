/** Generation from sources to texts: tokens per second, and what a step costs by context. */
import type { Model } from '../index.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { compare, median, type Measurement } from './measurement.ts';
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
  const subjects = batches.map((batch) => ({ model, batch, sourceTokens, newTokens, numBeams }));
  const [first, ...others] = await decodeInTurn(subjects, repetitions);
  if (first === undefined) return [];
  return [first, ...others].map(({ batch, rates, firstTokenMilliseconds }) =>
    compare({
      name: `${series}, ${group}, batch ${String(batch)}`,
      limitName: `batch ${String(first.batch)}`,
      unit: 'tokens/s',
      values: rates,
      limits: first.rates,
      details: { firstTokenMilliseconds, stepMilliseconds: (1000 * batch) / median(rates) },
      points: [{ chart: 'throughput', group, series, x: batch, y: median(rates) }],
    }),
  );
}

export interface ContextCase {
  readonly batch: number;
  readonly sourceTokens: readonly number[];
  readonly newTokens: number;
  readonly repetitions: number;
}

/** Milliseconds of a step by source length, and as a share of those of the first model. */
export async function measureContext(
  variants: readonly { readonly title: string; readonly model: Model }[],
  { batch, sourceTokens, newTokens, repetitions }: ContextCase,
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (const tokens of sourceTokens) {
    const settings = { batch, sourceTokens: tokens, newTokens, numBeams: 1 };
    const subjects = variants.map((variant) => ({ ...variant, ...settings }));
    const decoded = await decodeInTurn(subjects, repetitions);
    const times = decoded.map(({ rates }) => rates.map((rate) => (1000 * batch) / rate));
    decoded.forEach(({ title, model: { dtype }, cacheBytes }, i) => {
      const values = times[i] ?? [];
      const group = `${dtype}, batch ${String(batch)}`;
      const measured = compare({
        name: `${title}, ${group}, ${String(tokens)} source tokens`,
        limitName: variants[0]?.title ?? title,
        unit: 'ms',
        values,
        limits: times[0] ?? values,
        details: { cacheMiB: cacheBytes / 2 ** 20 },
        points: [{ chart: 'context', group, series: title, x: tokens, y: median(values) }],
      });
      measurements.push(measured);
    });
  }
  return measurements;
}

interface Subject {
  readonly model: Model;
  readonly batch: number;
  readonly sourceTokens: number;
  readonly newTokens: number;
  readonly numBeams: number;
}

interface Decoded {
  readonly firstTokenMilliseconds: number;
  readonly cacheBytes: number;
  /** Tokens per second of each repetition. */
  readonly rates: number[];
}

/** Encodes the sources of every subject, and then decodes them in turn. */
async function decodeInTurn<S extends Subject>(
  subjects: readonly S[],
  repetitions: number,
): Promise<(S & Decoded)[]> {
  const decoders: BatchDecoder[] = [];
  const results: (S & Decoded)[] = [];
  try {
    for (const subject of subjects) {
      const { model, batch, sourceTokens, newTokens, numBeams } = subject;
      const sources = sourcesOf(model.config.vocab_size, batch, sourceTokens, batch);
      const decoder = new BatchDecoder(model, sources, { mostRows: batch * numBeams, newTokens });
      decoders.push(decoder);
      const { milliseconds } = await decoder.encode();
      await decoder.decode({ numBeams, newTokens });
      const { cacheBytes } = decoder;
      results.push({ ...subject, firstTokenMilliseconds: milliseconds, cacheBytes, rates: [] });
    }
    for (let i = 0; i < repetitions; ++i) {
      for (const [index, { batch, numBeams, newTokens, rates }] of results.entries()) {
        const decoded = await decoders[index]?.decode({ numBeams, newTokens });
        rates.push((1000 * batch * newTokens) / (decoded?.milliseconds ?? NaN));
      }
    }
    return results;
  } finally {
    for (const decoder of decoders) await decoder[Symbol.asyncDispose]();
  }
}
