// Prints what nvcc's assembler gave each CUDA kernel (registers, shared memory, spills), from the logs that a build
// leaves beside its objects, and fails where an attention kernel spills, which is memory traffic in the innermost
// loops, or where the assembler could not let a kernel's wgmma products run while other work goes on.
//
//   node scripts/cuda-registers.mjs [build folder]      default: build
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, readdirSync } from 'node:fs';
import path from 'node:path';
import { BUILD } from './lib/native-build.mjs';

/**
 * @typedef {object} Usage
 * @property {string} kernel
 * @property {string} architecture
 * @property {number} registers
 * @property {number} sharedBytes static: what a launch asks for is not known here
 * @property {number} spillBytes stores and loads
 * @property {boolean} serialised whether the assembler waits for each of its wgmma products
 */

/**
 * @param {string} text
 * @returns {Set<string>} kernels that the assembler warns of, before it tells what it gave them
 */
function namesOfSerialised(text) {
  const warnings = text.matchAll(
    /wgmma\S* instructions are serialized .* in the function '([^']+)'/g,
  );
  return new Set([...warnings].map(([, name]) => name ?? ''));
}

/**
 * @param {string} text what `ptxas -v` printed
 * @returns {Usage[]}
 */
export function readUsage(text) {
  /** @type {Usage[]} */
  const usages = [];
  /** @type {Usage | undefined} */
  let current;
  const serialised = namesOfSerialised(text);
  for (const line of text.split('\n')) {
    const entry = /Compiling entry function '([^']+)' for '([^']+)'/.exec(line);
    if (entry) {
      current = {
        kernel: entry[1] ?? '',
        architecture: entry[2] ?? '',
        registers: 0,
        sharedBytes: 0,
        spillBytes: 0,
        serialised: serialised.has(entry[1] ?? ''),
      };
      usages.push(current);
    }
    if (!current) continue;
    const spills = /(\d+) bytes spill stores, (\d+) bytes spill loads/.exec(line);
    if (spills) current.spillBytes = Number(spills[1]) + Number(spills[2]);
    const registers = /Used (\d+) registers/.exec(line);
    if (registers) current.registers = Number(registers[1]);
    const shared = /(\d+) bytes smem/.exec(line);
    if (shared) current.sharedBytes = Number(shared[1]);
  }
  return usages;
}

/**
 * @param {string[]} names
 * @returns {string[]} without namespaces and parameters, where c++filt is there
 */
function readable(names) {
  const { status, stdout } = spawnSync('c++filt', { input: names.join('\n'), encoding: 'utf8' });
  if (status !== 0) return names;
  return stdout
    .split('\n')
    .map((name) =>
      name.replace(/^void /, '').replace(/\(anonymous namespace\)::|wgqa::cuda::/g, ''),
    )
    .map((name) => name.replace(/_GLOBAL__N__\w+::/g, '').replace(/\([^()]*\)$/, ''));
}

/**
 * @param {string} folder
 * @returns {string[]} of objects that are still there: a build removes those of files that are gone, not their logs
 */
function logsIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.cu.o.log'))
    .map((file) => path.join(folder, file))
    .filter((log) => existsSync(log.slice(0, -'.log'.length)))
    .sort();
}

/**
 * @param {string} log
 * @returns {Usage[]} kernels named `file/kernel`: not every kernel's own name says what it is for
 */
function usagesIn(log) {
  const usages = readUsage(readFileSync(log, 'utf8'));
  const file = path.basename(log, '.cu.o.log');
  const names = readable(usages.map(({ kernel }) => kernel));
  return usages.map((usage, i) => ({ ...usage, kernel: `${file}/${names[i] ?? usage.kernel}` }));
}

/**
 * @param {readonly Usage[]} usages
 * @returns {string[]} what is wrong with kernels, one line each
 */
export function faultsOf(usages) {
  return usages.flatMap(({ kernel, architecture, spillBytes, serialised }) => [
    ...(/attention/i.test(kernel) && spillBytes > 0 ? [`${kernel} (${architecture}) spills`] : []),
    ...(serialised ? [`${kernel} (${architecture}) waits for each of its products`] : []),
  ]);
}

/**
 * Prints the table of a build folder.
 * @param {string} build
 * @returns {{ passed: number, failed: number, skipped: number }} as one test; none where nvcc was not found
 */
export function checkRegisters(build) {
  const logs = logsIn(path.join(build, 'CMakeFiles/wgqa_cuda.dir'));
  if (logs.length === 0) {
    console.log(`cuda-registers: skipped, ${build} holds no CUDA kernels: nvcc was not found`);
    return { passed: 0, failed: 0, skipped: 1 };
  }
  const usages = logs.flatMap(usagesIn);
  console.log(
    'CUDA kernels: architecture, registers, bytes of static shared memory, bytes spilled, name',
  );
  for (const { kernel, architecture, registers, sharedBytes, spillBytes } of usages) {
    const numbers = [registers, sharedBytes, spillBytes].map((n) => String(n).padStart(5));
    console.log(`  ${architecture.padEnd(7)} ${numbers.join(' ')}  ${kernel}`);
  }
  const faults = faultsOf(usages);
  if (usages.length > 0 && faults.length === 0) return { passed: 1, failed: 0, skipped: 0 };
  console.log(faults.length > 0 ? faults.join('\n') : 'no kernel was found in the logs');
  return { passed: 0, failed: 1, skipped: 0 };
}

if (process.argv[1]?.endsWith('cuda-registers.mjs')) {
  process.exitCode = checkRegisters(path.resolve(process.argv[2] ?? BUILD)).failed;
}
