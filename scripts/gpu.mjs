// What needs a GPU: the tests and the benchmarks of the CUDA backend, built without the CPU backend. On a host without
// Node, docs/cuda.md has the commands one by one.
//
//   node scripts/gpu.mjs test | bench
import { spawnSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import { BUILD, ROOT, buildPreset } from './lib/native-build.mjs';
import { run } from './lib/process.mjs';

const PROGRAMS = path.join(BUILD, 'cuda/Release');
const RESULTS = path.join(ROOT, 'bench/results/cuda');
/** TypeScript tests of what runs on a device: models take the GPU where there is one. */
const DEVICE_TESTS = ['test/golden', 'test/equalities', 'test/model', 'test/decode', 'test/train'];

/**
 * @param {string} command
 * @param {...string} args
 */
async function must(command, ...args) {
  const status = await run(command, args, { cwd: ROOT });
  if (status !== 0) throw new Error(`${path.basename(command)} failed`);
}

async function test() {
  await must(path.join(PROGRAMS, 'wgqa_cuda_tests'));
  await must(process.execPath, 'scripts/setup.mjs');
  await must(process.execPath, 'scripts/test.mjs', 'js', ...DEVICE_TESTS);
}

async function bench() {
  mkdirSync(RESULTS, { recursive: true });
  const json = (/** @type {string} */ name) => ['--json', path.join(RESULTS, `${name}.json`)];
  for (const name of ['attention', 'model']) {
    await must(path.join(PROGRAMS, `bench_cuda_${name}`), ...json(name));
  }
  if (!hasPyTorch()) {
    console.log('PyTorch: skipped, python3 cannot import it and transformers');
    return;
  }
  for (const name of ['pytorch_attention', 'pytorch_t5']) {
    await must('python3', path.join(ROOT, `bench/native/cuda/${name}.py`), ...json(name));
  }
}

function hasPyTorch() {
  return spawnSync('python3', ['-c', 'import torch, transformers']).status === 0;
}

const tasks = { test, bench };
const [name = ''] = process.argv.slice(2);
try {
  if (!(name in tasks)) throw new Error('usage: node scripts/gpu.mjs test | bench');
  if (!(await buildPreset('cuda', ['all'], (line) => process.stderr.write(`${line}\n`)))) {
    throw new Error('the build failed');
  }
  await tasks[/** @type {'test' | 'bench'} */ (name)]();
} catch (error) {
  console.error(`gpu: ${error instanceof Error ? error.message : String(error)}`);
  process.exitCode = 1;
}
