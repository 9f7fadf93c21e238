// Builds native code from source: the addon, in this repository and where the package is installed as
// someone's dependency, and the programs of CMakePresets.json. A build folder is configured once;
// from then on the build tool itself decides, cheaply, what is out of date.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { findProgram, run } from './process.mjs';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const BUILD = path.join(ROOT, 'build');
export const ADDON = path.join(BUILD, 'Release/wgqa.node');
/** Why the last installation failed; src/addon-problem.ts quotes it. */
export const FAILURE = path.join(BUILD, 'failure.txt');
/** The presets of CMakePresets.json that the native tests are run with, and the programs of each. */
export const SANITIZED = {
  sanitize: ['wgqa_native_tests', 'wgqa_cuda_tests'],
  'sanitize-thread': ['wgqa_native_tests'],
};

/** What ninja says when there is nothing to do. */
const IDLE = /^ninja: no work to do\.$|^\[0\/\d+\] Re-checking globbed directories/;

/**
 * Where no GPU is, no CUDA library is built, which takes minutes, unless WGQA_CUDA=ON asks for it.
 * @returns {'ON' | 'AUTO' | 'OFF'} as CMake's option WGQA_CUDA
 */
export function cudaWhereUseful() {
  const asked = process.env['WGQA_CUDA']?.toUpperCase();
  if (asked === 'ON' || asked === 'AUTO' || asked === 'OFF') return asked;
  return existsSync('/proc/driver/nvidia') || existsSync('/dev/dxg') ? 'AUTO' : 'OFF';
}

/**
 * Brings build/Release/wgqa.node up to date. What was built with the CUDA library keeps it.
 * @param {'ON' | 'AUTO' | 'OFF'} cuda whether the CUDA library is built, as CMake's option WGQA_CUDA
 * @param {(line: string) => void} onLine receives the build's output: nothing if all is up to date
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function buildAddon(cuda, onLine) {
  const release = ['-S', ROOT, '-B', BUILD, '-DCMAKE_BUILD_TYPE=Release'];
  const options = ['-DWGQA_TESTS=OFF', '-DWGQA_BENCH=OFF', `-DWGQA_CUDA=${cuda}`];
  const generator = findProgram('ninja') ? ['-G', 'Ninja'] : [];
  const node = [`-DNODE_EXECUTABLE=${process.execPath}`];
  const before = cacheValue(BUILD, 'WGQA_CUDA');
  const wantsMore = cuda === 'ON' || (cuda === 'AUTO' && before === 'OFF');
  if (before !== undefined && before !== cuda && wantsMore)
    rmSync(path.join(BUILD, 'CMakeCache.txt'));
  const args = [...generator, ...release, ...options, ...node];
  return (
    (await configure(BUILD, 'cmake', args, onLine)) &&
    (await build(['--build', BUILD, '--target', 'wgqa'], onLine))
  );
}

/**
 * Brings `targets` of a preset up to date, in the folder build/<preset>.
 * @param {string} preset
 * @param {readonly string[]} targets
 * @param {(line: string) => void} onLine as of buildAddon
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function buildPreset(preset, targets, onLine) {
  return (
    (await configure(path.join(BUILD, preset), 'cmake', ['--preset', preset], onLine)) &&
    (await build(['--build', '--preset', preset, '--target', ...targets], onLine))
  );
}

/**
 * Configures `folder` where that was not done yet; shows the output only of a failure.
 * @param {string} folder
 * @param {string} command
 * @param {readonly string[]} args
 * @param {(line: string) => void} onLine
 */
async function configure(folder, command, args, onLine) {
  if (isConfigured(folder)) return true;
  onLine(`configuring ${path.relative(ROOT, folder)}`);
  /** @type {string[]} */
  const lines = [];
  const keep = (/** @type {string} */ line) => lines.push(line);
  const status = await run(command, args, { cwd: ROOT, onLine: keep, onErrorLine: keep });
  if (status !== 0) lines.forEach(onLine);
  return status === 0;
}

/**
 * Whether a folder can be built as it is. A failed configuration leaves a cache and no build files;
 * a moved repository leaves a cache that names the old place, which CMake would refuse.
 * @param {string} folder
 */
function isConfigured(folder) {
  const home = cacheValue(folder, 'CMAKE_HOME_DIRECTORY');
  if (home === undefined) return false;
  if (home !== ROOT) {
    rmSync(path.join(folder, 'CMakeCache.txt'));
    rmSync(path.join(folder, 'CMakeFiles'), { recursive: true, force: true });
    return false;
  }
  return ['build.ninja', 'Makefile'].some((file) => existsSync(path.join(folder, file)));
}

/**
 * @param {string} folder
 * @param {string} name of an entry of CMake's cache
 * @returns {string | undefined}
 */
function cacheValue(folder, name) {
  const cache = path.join(folder, 'CMakeCache.txt');
  if (!existsSync(cache)) return undefined;
  return new RegExp(`^${name}:\\w+=(.*)$`, 'm').exec(readFileSync(cache, 'utf8'))?.[1];
}

/**
 * @param {readonly string[]} args
 * @param {(line: string) => void} onLine
 */
async function build(args, onLine) {
  const parallel = ['--parallel', String(availableParallelism())];
  const status = await run('cmake', [...args, ...parallel], {
    cwd: ROOT,
    onLine: (line) => {
      if (!IDLE.test(line)) onLine(line);
    },
    onErrorLine: onLine,
  });
  return status === 0;
}
