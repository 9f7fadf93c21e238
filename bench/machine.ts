/** What the machine can do: the roofs that everything else is compared with. */
import { productRate, readRate } from '../src/bench/limits.ts';
import { compare, interleave, type Benchmark } from '../src/bench/measurement.ts';
import type { RunOptions } from '../src/bench/run-options.ts';
import { native } from '../src/native.ts';

/** Fits into the last cache, and not into those of single cores. */
const CACHED_BYTES = 2 ** 24;
const DTYPES = ['float32', 'bfloat16', 'int8'] as const;

export async function measureMachine({ quick }: RunOptions): Promise<Benchmark> {
  const { lastLevelCacheBytes } = native().cpu();
  // Twice what a cache could hold.
  const memoryBytes = Math.max(2 ** 28, quick ? 0 : 2 * lastLevelCacheBytes);
  const rates = await interleave(quick ? 3 : 9, {
    cache: () => readRate(CACHED_BYTES),
    memory: () => readRate(memoryBytes),
    float32: () => productRate('float32'),
    bfloat16: () => productRate('bfloat16'),
    int8: () => productRate('int8'),
  });
  const scaled = (values: readonly number[]): number[] => values.map((value) => value / 1e9);
  return {
    title: 'what the machine can do',
    measurements: [
      compare({
        name: `reading ${String(CACHED_BYTES / 2 ** 20)} MiB again and again, from the last cache`,
        limitName: `reading ${String(Math.round(memoryBytes / 2 ** 20))} MiB`,
        unit: 'GB/s',
        values: scaled(rates.cache),
        limits: scaled(rates.memory),
      }),
      ...DTYPES.map((dtype) =>
        compare({
          name: `oneDNN products in ${dtype}`,
          limitName: 'oneDNN float32',
          unit: 'GFLOP/s',
          values: scaled(rates[dtype]),
          limits: scaled(rates.float32),
        }),
      ),
    ],
  };
}
