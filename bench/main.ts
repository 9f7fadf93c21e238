/**
 * Runs all benchmarks, or those named, one after another; prints a table of each, writes
 * bench/results/<name>.json, and bench/results/index.html of everything there. What the figures
 * mean stands in bench/README.md.
 *
 *   npm run bench [-- --quick] [--isa avx2,avx512] [machine attention decoding peers ...]
 *   npm run bench -- --against FOLDER [--quick] [decoding encoder types]
 */
import path from 'node:path';
import { run } from '../scripts/lib/process.mjs';
import type { InstructionSet } from '../src/bench/instruction-sets.ts';
import { formatSideBySide } from '../src/bench/side-by-side.ts';
import { formatBenchmark } from '../src/bench/table.ts';
import type { Benchmark } from '../src/bench/measurement.ts';
import { readResults, writePage, writeResult } from '../src/bench/results.ts';
import type { RunOptions } from '../src/bench/run-options.ts';
import { compareTrees } from './against/against.ts';
import { COMPARABLE } from './against/cases.ts';
import { parseArguments, withoutInstructionSets, type Arguments } from './arguments.ts';
import { TYPESCRIPT_ARGUMENTS } from './asked-process.ts';
import { measureAuto } from './auto.ts';
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
import { limitedTo, limitInForce } from './instruction-sets.ts';
import { measureMachine } from './machine.ts';
import { NATIVE_PROGRAMS, runNative } from './native-programs.ts';
import { measurePeers } from './peers.ts';
import { measureTypes } from './types.ts';

const RESULTS = path.join(import.meta.dirname, 'results');
const QUICK_RESULTS = path.join(import.meta.dirname, '../build/bench-quick');

type Run = (options: RunOptions) => Promise<Benchmark>;

const BENCHMARKS: ReadonlyMap<string, Run> = new Map<string, Run>([
  ['machine', measureMachine],
  ...NATIVE_PROGRAMS.map((name): [string, Run] => [name, (options) => runNative(name, options)]),
  ['decoding', measureDecoding],
  ['encoder', measureEncoding],
  ['types', measureTypes],
  ['auto', measureAuto],
  ['generation', measureGenerating],
  ['context', measureContexts],
  ['training', measureTraining],
  ['loading', measureStarting],
  ['memory', measureMemories],
  ['engine', measureEngine],
  ['peers', measurePeers],
]);

const AGAINST = 'against-';
const COMPARABLE_NAMES = Object.keys(COMPARABLE);
const RESULT_NAMES = [...BENCHMARKS.keys(), ...COMPARABLE_NAMES.map((name) => AGAINST + name)];

function onProgress(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** In this process, under the limit that it was started with. */
async function runHere(
  { names, quick, against }: Arguments,
  directory: string,
  limit: InstructionSet | undefined,
): Promise<void> {
  for (const name of names) {
    const benchmark =
      against === undefined
        ? await BENCHMARKS.get(name)?.({ quick, onProgress })
        : await compareTrees(name, against, { quick, onProgress });
    if (benchmark === undefined) continue;
    const stored = against === undefined ? name : AGAINST + name;
    await writeResult(directory, { benchmark: stored, limit }, benchmark);
    process.stdout.write(`${formatBenchmark(benchmark)}\n\n`);
  }
}

/** In processes of their own, one after another: an addon is limited once, when it is loaded. */
async function runLimited(instructionSets: readonly InstructionSet[]): Promise<void> {
  for (const limit of instructionSets) {
    onProgress(`limited to ${limit}`);
    const program = [...TYPESCRIPT_ARGUMENTS, import.meta.filename];
    const args = withoutInstructionSets(process.argv.slice(2));
    const env = limitedTo(process.env, limit);
    const status = await run(process.execPath, [...program, ...args], { env });
    if (status !== 0) throw new Error(`the run limited to ${limit} failed`);
  }
}

try {
  const given = parseArguments(process.argv.slice(2), {
    all: [...BENCHMARKS.keys()],
    comparable: COMPARABLE_NAMES,
  });
  const directory = given.quick ? QUICK_RESULTS : RESULTS;
  if (given.instructionSets.length > 0) await runLimited(given.instructionSets);
  else await runHere(given, directory, limitInForce());
  const results = await readResults(directory, RESULT_NAMES);
  if (given.instructionSets.length > 1) {
    const stored = given.names.map((name) => (given.against === undefined ? name : AGAINST + name));
    process.stdout.write(formatSideBySide(results.filter((one) => stored.includes(one.benchmark))));
  }
  const page = await writePage(directory, results);
  process.stdout.write(`${path.relative(process.cwd(), page)}\n`);
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
