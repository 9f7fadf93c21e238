// Builds the native addon, build/Release/wgqa.node, from source: in this repository and where the
// package is installed as someone's dependency.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from './process.mjs';

export const ROOT = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
export const BUILD = path.join(ROOT, 'build');
export const ADDON = path.join(BUILD, 'Release/wgqa.node');

/**
 * Configures build/ where that was not done yet and brings `targets` up to date.
 * @param {readonly string[]} targets CMake targets
 * @param {(line: string) => void} onLine receives the build's output, nothing if all was up to date
 * @returns {Promise<boolean>} whether it succeeded
 */
export async function buildTargets(targets, onLine) {
  if (!isConfigured(BUILD) && !(await configure(onLine))) return false;
  return cmakeBuild(['--build', BUILD, '--target', ...targets], onLine);
}

/**
 * `cmake --build` on every core, without the line that says that there was nothing to do.
 * @param {readonly string[]} args
 * @param {(line: string) => void} onLine
 */
export async function cmakeBuild(args, onLine) {
  const parallel = ['--parallel', String(availableParallelism())];
  const status = await run('cmake', [...args, ...parallel], {
    cwd: ROOT,
    onLine: (line) => {
      if (line !== 'ninja: no work to do.') onLine(line);
    },
  });
  return status === 0;
}

/**
 * Whether a build folder can be built as it is. A failed configuration leaves a cache and no build
 * files; a moved repository leaves a cache that names the old place, and is removed.
 * @param {string} folder
 */
export function isConfigured(folder) {
  const cache = path.join(folder, 'CMakeCache.txt');
  if (!existsSync(cache)) return false;
  const home = /^CMAKE_HOME_DIRECTORY:INTERNAL=(.*)$/m.exec(readFileSync(cache, 'utf8'))?.[1];
  if (home !== ROOT) {
    rmSync(cache);
    rmSync(path.join(folder, 'CMakeFiles'), { recursive: true, force: true });
    return false;
  }
  return ['build.ninja', 'Makefile'].some((file) => existsSync(path.join(folder, file)));
}

/** @param {(line: string) => void} onLine */
async function configure(onLine) {
  const cmakeJs = createRequire(import.meta.url).resolve('cmake-js/bin/cmake-js');
  const options = ['--CDWGQA_TESTS=OFF', '--CDWGQA_BENCH=OFF'];
  const args = [cmakeJs, 'configure', ...options];
  return (await run(process.execPath, args, { cwd: ROOT, onLine })) === 0;
}
