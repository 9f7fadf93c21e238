/** A decoding step: the weights it reads per second, and its products beside oneDNN's own. */
import type { ComputeDtype, Model } from '../index.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { flopsOf, productRate, productSeconds, readRate, type Product } from './limits.ts';
import { compare, median, type ChartPoint, type Measurement } from './measurement.ts';
import { decodeStepProducts } from './products.ts';
import { sourcesOf } from './sources.ts';

export interface DecodeStepCase {
  /** In the names of the measurements, e.g. "T5-base, MHA". */
  readonly title: string;
  readonly batch: number;
  readonly sourceTokens: number;
  readonly newTokens: number;
  readonly repetitions: number;
  /** Share of read bandwidth at batch 1, or of oneDNN's product rate, that is wanted. */
  readonly atLeast?: number;
}

interface Samples {
  readonly steps: number[];
  readonly bandwidths: number[];
  /** Operations per second of oneDNN at its best, and for the same products. */
  readonly rates: number[];
  readonly sameProducts: number[];
  weightBytes: number;
}

/**
 * Few rows are bound by reading weights, many by products: batch 1 is compared with read
 * bandwidth, everything else with oneDNN too.
 */
export async function measureDecodeStep(
  model: Model,
  { title, batch, sourceTokens, newTokens, repetitions, atLeast }: DecodeStepCase,
): Promise<Measurement[]> {
  const products = decodeStepProducts(model.config, batch);
  const samples = await sample(model, products, { batch, sourceTokens, newTokens, repetitions });
  const { steps, bandwidths, rates, sameProducts, weightBytes } = samples;
  const name = `${title}, ${model.dtype}, batch ${String(batch)}`;
  const wanted = atLeast === undefined ? {} : { wanted: { atLeast } };
  const flops = flopsOf(products);
  const milliseconds = median(steps);
  const bandwidth = compare({
    name: `${name}: weights read`,
    limitName: 'reading as many bytes',
    unit: 'GB/s',
    values: steps.map((step) => weightBytes / step / 1e6),
    limits: bandwidths.map((rate) => rate / 1e9),
    ...(batch === 1 && wanted),
    details: { stepMilliseconds: milliseconds, tokensPerSecond: (1000 * batch) / milliseconds },
    points: [rooflinePoint(name, flops, weightBytes, milliseconds)],
  });
  if (batch === 1) return [bandwidth];
  const rate = compare({
    name: `${name}: products`,
    limitName: `oneDNN ${model.dtype}`,
    unit: 'GFLOP/s',
    values: steps.map((step) => flops / step / 1e6),
    limits: rates.map((one) => one / 1e9),
    ...wanted,
    details: { ofSameProducts: (1000 * median(sameProducts)) / milliseconds },
  });
  return [bandwidth, rate];
}

async function sample(
  model: Model,
  products: readonly Product[],
  settings: Omit<DecodeStepCase, 'title' | 'atLeast'>,
): Promise<Samples> {
  const { batch, sourceTokens, newTokens, repetitions } = settings;
  const sources = sourcesOf(model.config.vocab_size, batch, sourceTokens);
  await using decoder = new BatchDecoder(model, sources, { mostRows: batch, newTokens });
  await decoder.encode();
  await decoder.decode({ numBeams: 1, newTokens });
  const samples: Samples = {
    steps: [],
    bandwidths: [],
    rates: [],
    sameProducts: [],
    weightBytes: 0,
  };
  for (let i = 0; i < repetitions; ++i) {
    const decoded = await decoder.decode({ numBeams: 1, newTokens });
    samples.steps.push(decoded.stepMilliseconds);
    samples.weightBytes = decoded.weightBytesPerStep;
    samples.bandwidths.push(await readRate(Math.ceil(decoded.weightBytesPerStep)));
    if (batch === 1) continue;
    samples.rates.push(await productRate(model.dtype));
    samples.sameProducts.push(await productSeconds(products, model.dtype));
  }
  return samples;
}

export function rooflinePoint(
  series: string,
  flops: number,
  bytes: number,
  milliseconds: number,
): ChartPoint {
  return {
    chart: 'roofline',
    group: 'steps and encoder',
    series,
    x: flops / bytes,
    y: flops / milliseconds / 1e6,
  };
}

/** Bytes of an element of weights or cache. */
export const ELEMENT_BYTES: Readonly<Record<ComputeDtype, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
  int8: 1,
};
