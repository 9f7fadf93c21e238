/**
 * Runs all benchmarks, or those named, one after another; prints a table of each and writes
 * bench/results/<name>.json. What the figures mean stands in bench/README.md.
 *
 *   npm run bench [-- training loading model attention ...]
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { describeDevice } from './device.ts';
import { measureEngine } from './engine.ts';
import { measureLoading } from './loading.ts';
import { share, type Benchmark } from './measure.ts';
import { NATIVE_PROGRAMS, runNative } from './native-programs.ts';
import { formatBenchmark } from './table.ts';

const RESULTS = path.join(import.meta.dirname, 'results');

const BENCHMARKS: ReadonlyMap<string, () => Promise<Benchmark>> = new Map([
  ...NATIVE_PROGRAMS.map((name) => [name, () => runNative(name)] as const),
  ['engine', measureEngine] as const,
  ['loading', measureLoading] as const,
]);

function choose(names: readonly string[]): readonly string[] {
  const all = [...BENCHMARKS.keys()];
  const unknown = names.find((name) => !BENCHMARKS.has(name));
  if (unknown !== undefined) {
    throw new Error(`no benchmark is called ${unknown}; there are ${all.join(', ')}`);
  }
  return names.length > 0 ? names : all;
}

function writeResult(name: string, benchmark: Benchmark): void {
  const measurements = benchmark.measurements.map((one) => ({ ...one, share: share(one) }));
  const result = { ...benchmark, measurements, device: describeDevice() };
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(path.join(RESULTS, `${name}.json`), `${JSON.stringify(result, undefined, 2)}\n`);
}

try {
  for (const name of choose(process.argv.slice(2))) {
    const benchmark = await BENCHMARKS.get(name)?.();
    if (benchmark === undefined) continue;
    writeResult(name, benchmark);
    process.stdout.write(`${formatBenchmark(benchmark)}\n\n`);
  }
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
