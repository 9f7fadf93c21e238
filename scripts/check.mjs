// Every formatter and linter, one on each core; fails if any found something, and says which at the end.
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { BUILD, ROOT } from './lib/native-build.mjs';
import { findProgram, run } from './lib/process.mjs';

const NATIVE_FILES = '{native,bench/native}/**/*.{h,cc,cu}';
const COMPILE_COMMANDS = path.join(BUILD, 'lint');

/** @param {string} preset */
async function configured(preset) {
  /** @type {string[]} */
  const lines = [];
  const onLine = (/** @type {string} */ line) => lines.push(line);
  const status = await run('cmake', ['--preset', preset], { cwd: ROOT, onLine });
  if (status !== 0) console.log(lines.join('\n'));
  return status === 0;
}

// The longest first; run-clang-tidy, which takes all cores, last.
const checks = [
  { name: 'eslint', command: 'eslint', args: ['--max-warnings=0', '.'] },
  { name: 'prettier', command: 'prettier', args: ['--check', '--log-level=warn', '.'] },
  { name: 'tsc', command: 'tsc', args: ['-p', 'tsconfig.json'] },
  {
    name: 'clang-format',
    command: 'clang-format',
    args: [`--glob=${NATIVE_FILES}`, '--dry-run', '--Werror'],
  },
];
if (!findProgram('run-clang-tidy')) {
  console.log('clang-tidy: skipped, it is not installed');
} else if (!findProgram('cmake') || !(await configured('lint'))) {
  console.log('clang-tidy: skipped, it needs the compile commands of `cmake --preset lint`');
} else {
  const args = ['-quiet', '-p', COMPILE_COMMANDS, '/native/'];
  checks.push({ name: 'clang-tidy', command: 'run-clang-tidy', args });
}

const local = path.join(ROOT, 'node_modules/.bin');
const env = { ...process.env, PATH: `${local}${path.delimiter}${process.env['PATH'] ?? ''}` };
/** @type {string[]} */
const failed = [];

/** Takes checks from the list until none is left; what one says is kept together. */
async function work() {
  for (let check = checks.shift(); check; check = checks.shift()) {
    const { name, command, args } = check;
    /** @type {string[]} */
    const lines = [];
    const status = await run(command, args, { cwd: ROOT, env, onLine: (line) => lines.push(line) });
    lines.push(`${name}: ${status === 0 ? 'ok' : 'FAILED'}`);
    console.log(lines.join('\n'));
    if (status !== 0) failed.push(name);
  }
}

await Promise.all(Array.from({ length: availableParallelism() }, work));
if (failed.length > 0) {
  console.error(`check failed: ${failed.join(', ')}`);
  process.exitCode = 1;
}
