/** Bytes that a loaded model and its cache take. */
import type { Model } from '../index.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { ELEMENT_BYTES } from './decode-step.ts';
import type { Measurement } from './measurement.ts';
import { sourcesOf } from './sources.ts';

export interface MemoryCase {
  readonly title: string;
  readonly batch: number;
  readonly sourceTokens: number;
  readonly newTokens: number;
}

const MIB = 2 ** 20;

/** After decoding: weights as the model holds them, the process, and the cache of the batch. */
export async function measureMemory(
  model: Model,
  { title, batch, sourceTokens, newTokens }: MemoryCase,
  multiHeadCacheBytes?: number,
): Promise<{ readonly measurements: Measurement[]; readonly cacheBytes: number }> {
  const sources = sourcesOf(model.config.vocab_size, batch, sourceTokens);
  await using decoder = new BatchDecoder(model, sources, { mostRows: batch, newTokens });
  await decoder.encode();
  await decoder.decode({ numBeams: 1, newTokens });
  const { cacheBytes } = decoder;
  const { parameters, packed } = await model.memoryBytes();
  const name = `${title}, ${model.dtype}`;
  const measurements: Measurement[] = [
    {
      name: `${name}: parameters and packed weights`,
      value: (parameters + packed) / MIB,
      limitName: 'the weights once',
      limit: (model.parameterCount * ELEMENT_BYTES[model.dtype]) / MIB,
      unit: 'MiB',
      details: { residentMiB: process.memoryUsage.rss() / MIB, packedMiB: packed / MIB },
    },
    {
      name: `${name}: cache of ${String(batch)} × ${String(sourceTokens)} source, ${String(newTokens)} new tokens`,
      value: cacheBytes / MIB,
      limitName: 'multi-head',
      limit: (multiHeadCacheBytes ?? cacheBytes) / MIB,
      unit: 'MiB',
    },
  ];
  return { measurements, cacheBytes };
}
