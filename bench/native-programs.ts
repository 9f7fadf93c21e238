/** The benchmarks in C++: builds bench/native/bench_<name>.cc, runs it and reads what it measured. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { BUILD, buildPreset, ROOT } from '../scripts/lib/native-build.mjs';
import { run } from '../scripts/lib/process.mjs';
import type { Benchmark, Measurement } from '../src/bench/measurement.ts';
import type { RunOptions } from '../src/bench/run-options.ts';

/** What a program writes for `--json`. */
interface ProgramResult {
  readonly benchmark: string;
  readonly results: readonly {
    readonly name: string;
    readonly rate: number;
    readonly limitName: string;
    readonly limit: number;
    readonly unit: string;
    readonly spread: readonly [number, number];
  }[];
}

/** Least share of the limit, by the name of the result. */
const WANTED: Readonly<Record<string, number>> = {
  ...Object.fromEntries(
    ['MHA', 'GQA-4', 'MQA'].flatMap((variant) =>
      ['float32', 'bfloat16'].map((dtype) => [`decode ${variant} ${dtype}, 8 x 4096 tokens`, 0.85]),
    ),
  ),
  'T5-small, training in float32': 0.7,
  'T5-small, training in bfloat16': 0.55,
};

export const NATIVE_PROGRAMS: readonly string[] = readdirSync(path.join(ROOT, 'bench/native'))
  .flatMap((file) => /^bench_(\w+)\.cc$/.exec(file)?.[1] ?? [])
  .filter((name) => name !== 'support')
  .sort();

export async function runNative(name: string, { quick }: RunOptions): Promise<Benchmark> {
  const program = `bench_${name}`;
  const showBuild = (line: string): void => {
    process.stderr.write(`${line}\n`);
  };
  if (!(await buildPreset('standalone', [program], showBuild))) {
    throw new Error(`building ${program} failed`);
  }
  const directory = await mkdtemp(path.join(tmpdir(), 'wgqa-bench-'));
  try {
    const file = path.join(directory, 'result.json');
    const executable = path.join(BUILD, 'standalone/bench/native', program);
    // Its own table goes to nowhere: this one prints them all alike.
    const status = await run(
      executable,
      ['--json', file, ...(quick ? ['--repetitions', '3'] : [])],
      { onLine: () => undefined },
    );
    if (status !== 0) throw new Error(`${program} failed`);
    return toBenchmark(JSON.parse(await readFile(file, 'utf8')) as ProgramResult);
  } finally {
    await rm(directory, { recursive: true });
  }
}

function toBenchmark({ benchmark, results }: ProgramResult): Benchmark {
  const measurements = results.map(({ rate, ...result }): Measurement => {
    const atLeast = WANTED[result.name];
    const measurement = { ...result, value: rate };
    return atLeast === undefined ? measurement : { ...measurement, wanted: { atLeast } };
  });
  return { title: benchmark, measurements };
}
