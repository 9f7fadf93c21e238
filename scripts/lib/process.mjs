// Child processes for the scripts: run one, and find a program without starting it.
import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

/**
 * @typedef {object} RunOptions
 * @property {string} [cwd]
 * @property {NodeJS.ProcessEnv} [env]
 * @property {(line: string) => void} [onLine]
 * @property {(line: string) => void} [onErrorLine]
 */

/**
 * Runs a program to its end, passing each line of its standard output to `onLine`, and of standard
 * error to `onErrorLine`; without them both go through. Resolves to the exit status, 1 if the program could not be started or was killed.
 * @param {string} command
 * @param {readonly string[]} args
 * @param {RunOptions} [options]
 * @returns {Promise<number>}
 */
export function run(command, args, { cwd, env, onLine, onErrorLine } = {}) {
  return new Promise((resolve) => {
    const stdout = onLine ? 'pipe' : 'inherit';
    const stderr = onErrorLine ? 'pipe' : 'inherit';
    const child = spawn(command, args, { cwd, env, stdio: ['ignore', stdout, stderr] });
    if (onLine && child.stdout) createInterface({ input: child.stdout }).on('line', onLine);
    if (onErrorLine && child.stderr) {
      createInterface({ input: child.stderr }).on('line', onErrorLine);
    }
    child.on('error', (error) => {
      (onErrorLine ?? writeError)(`${command}: ${error.message}`);
      resolve(1);
    });
    child.on('close', (status) => {
      resolve(status ?? 1);
    });
  });
}

/** @param {string} line */
function writeError(line) {
  process.stderr.write(`${line}\n`);
}

/**
 * The full path of a program, or undefined where PATH has none.
 * @param {string} program
 * @returns {string | undefined}
 */
export function findProgram(program) {
  return (process.env['PATH'] ?? '')
    .split(path.delimiter)
    .map((folder) => path.join(folder, program))
    .find((file) => existsSync(file));
}

/**
 * The command run without address-space randomisation where that is possible: sanitizers of gcc 13
 * and older stop at once on kernels that randomise more bits than they know.
 * @param {readonly string[]} command
 * @returns {readonly string[]}
 */
export function withFixedAddresses(command) {
  const prefix = ['setarch', '--addr-no-randomize'];
  const { status } = spawnSync('setarch', ['--addr-no-randomize', 'true'], { stdio: 'ignore' });
  return status === 0 ? [...prefix, ...command] : command;
}
