// Builds the native benchmarks optimised and runs them one after another, or only those named:
//
//   node scripts/bench.mjs [gemm decode ...]      bench/native/bench_<name>.cc
import { readdirSync } from 'node:fs';
import path from 'node:path';
import { BUILD, ROOT, buildPreset } from './lib/native-build.mjs';
import { run } from './lib/process.mjs';

const PROGRAMS = path.join(BUILD, 'standalone/bench/native');

/** @param {readonly string[]} names */
function choose(names) {
  const all = readdirSync(path.join(ROOT, 'bench/native')).flatMap(
    (file) => /^bench_(\w+)\.cc$/.exec(file)?.[1] ?? [],
  );
  const unknown = names.find((name) => !all.includes(name));
  if (unknown !== undefined) {
    throw new Error(`no benchmark is called ${unknown}; there are ${all.join(', ')}`);
  }
  return names.length > 0 ? names : all;
}

try {
  const programs = choose(process.argv.slice(2)).map((name) => `bench_${name}`);
  if (!(await buildPreset('standalone', programs, console.error))) {
    throw new Error('building the benchmarks failed');
  }
  for (const program of programs) {
    const status = await run(path.join(PROGRAMS, program), [], { cwd: ROOT });
    if (status !== 0) throw new Error(`${program} failed`);
  }
} catch (error) {
  console.error(error instanceof Error ? error.message : String(error));
  process.exitCode = 1;
}
