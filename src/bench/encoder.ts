/** Encoding sources, as an engine does it: the K and V of cross-attention are part of it. */
import type { Model } from '../index.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { ELEMENT_BYTES, rooflinePoint } from './decode-step.ts';
import { flopsOf, productRate, productSeconds } from './limits.ts';
import { compare, interleave, median, type Measurement } from './measurement.ts';
import { encoderProducts } from './products.ts';
import { sourcesOf } from './sources.ts';

export interface EncoderCase {
  readonly title: string;
  readonly sequences: number;
  readonly tokens: number;
  readonly repetitions: number;
  /** Share of oneDNN's time for the same products. */
  readonly atLeast?: number;
}

/** Every repetition has sources of its own: an engine encodes none twice. */
export async function measureEncoder(
  model: Model,
  { title, sequences, tokens, repetitions, atLeast }: EncoderCase,
): Promise<Measurement[]> {
  const { config, dtype } = model;
  const products = encoderProducts(config, sequences, tokens);
  const flops = flopsOf(products);
  let seed = 0;
  const encode = async (): Promise<number> => {
    const sources = sourcesOf(config.vocab_size, sequences, tokens, (seed += sequences));
    await using decoder = new BatchDecoder(model, sources, { mostRows: sequences, newTokens: 1 });
    return (await decoder.encode()).encodeMilliseconds;
  };
  await encode();
  const { ours, same, best } = await interleave(repetitions, {
    ours: encode,
    same: async () => 1000 * (await productSeconds(products, dtype)),
    best: () => productRate(dtype),
  });
  const name = `${title}, ${dtype}, ${String(sequences)} × ${String(tokens)} tokens`;
  const rates = ours.map((milliseconds) => flops / milliseconds / 1e6);
  const weights = [...model.parameters()]
    .filter(([parameter]) => parameter.startsWith('encoder.'))
    .reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 1), 0);
  return [
    compare({
      name,
      limitName: 'oneDNN for the same products',
      unit: 'GFLOP/s',
      values: rates,
      limits: same.map((milliseconds) => flops / milliseconds / 1e6),
      ...(atLeast !== undefined && { wanted: { atLeast } }),
      details: {
        ofProductRate: (1e9 * median(rates)) / median(best),
        tokensPerSecond: (1000 * sequences * tokens) / median(ours),
      },
      points: [rooflinePoint(name, flops, weights * ELEMENT_BYTES[dtype], median(ours))],
    }),
  ];
}
