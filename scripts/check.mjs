// Every formatter and linter, one on each core; fails if any found something, and says which at the end.
import { existsSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { BUILD, ROOT } from './lib/native-build.mjs';
import { findProgram, run } from './lib/process.mjs';

const NATIVE_FILES = '{native,bench/native}/**/*.{h,cc,cu}';
const SANITIZED_BUILD = path.join(BUILD, 'sanitize');

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
} else if (!existsSync(path.join(SANITIZED_BUILD, 'compile_commands.json'))) {
  console.log('clang-tidy: skipped, it needs the compile commands that `npm test` leaves');
} else {
  const args = ['-quiet', '-p', SANITIZED_BUILD, '/native/'];
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
