/**
 * Runs all benchmarks, or those named, one after another; prints a table of each, writes
 * bench/results/<name>.json, and bench/results/index.html of everything there. What the figures
 * mean stands in bench/README.md.
 *
 *   npm run bench [-- --quick] [machine attention decoding peers ...]
 */
import path from 'node:path';
import { parseArgs } from 'node:util';
import { formatBenchmark } from '../src/bench/table.ts';
import type { Benchmark } from '../src/bench/measurement.ts';
import { readResults, writePage, writeResult } from '../src/bench/results.ts';
import type { RunOptions } from '../src/bench/run-options.ts';
import {
  measureContexts,
  measureDecoding,
  measureEncoding,
  measureGenerating,
  measureMemories,
  measureStarting,
  measureTraining,
} from './cases.ts';
import { measureEngine } from './engine.ts';
import { measureMachine } from './machine.ts';
import { NATIVE_PROGRAMS, runNative } from './native-programs.ts';
import { measurePeers } from './peers.ts';

const RESULTS = path.join(import.meta.dirname, 'results');
const QUICK_RESULTS = path.join(import.meta.dirname, '../build/bench-quick');

type Run = (options: RunOptions) => Promise<Benchmark>;

const BENCHMARKS: ReadonlyMap<string, Run> = new Map<string, Run>([
  ['machine', measureMachine],
  ...NATIVE_PROGRAMS.map((name): [string, Run] => [name, (options) => runNative(name, options)]),
  ['decoding', measureDecoding],
  ['encoder', measureEncoding],
  ['generation', measureGenerating],
  ['context', measureContexts],
  ['training', measureTraining],
  ['loading', measureStarting],
  ['memory', measureMemories],
  ['engine', measureEngine],
  ['peers', measurePeers],
]);

function choose(names: readonly string[]): readonly string[] {
  const all = [...BENCHMARKS.keys()];
  const unknown = names.find((name) => !BENCHMARKS.has(name));
  if (unknown !== undefined) {
    throw new Error(`no benchmark is called ${unknown}; there are ${all.join(', ')}`);
  }
  return names.length > 0 ? names : all;
}

try {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { quick: { type: 'boolean', default: false } },
  });
  const directory = values.quick ? QUICK_RESULTS : RESULTS;
  const onProgress = (text: string): boolean => process.stderr.write(`${text}\n`);
  for (const name of choose(positionals)) {
    const benchmark = await BENCHMARKS.get(name)?.({ quick: values.quick, onProgress });
    if (benchmark === undefined) continue;
    await writeResult(directory, name, benchmark);
    process.stdout.write(`${formatBenchmark(benchmark)}\n\n`);
  }
  const page = await writePage(directory, await readResults(directory, [...BENCHMARKS.keys()]));
  process.stdout.write(`${path.relative(process.cwd(), page)}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
