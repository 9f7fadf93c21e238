/** Programs of test/behaviour/programs, each in a process of its own. */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const ROOT = path.join(import.meta.dirname, '../..');
const PROGRAMS = path.join(ROOT, 'test/behaviour/programs');
const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

export interface ChildResult {
  readonly status: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Command line that runs a TypeScript program of the tests. */
export function programCommand(
  program: string,
  args: readonly string[],
  nodeArguments: readonly string[] = [],
): [string, ...string[]] {
  const file = path.join(PROGRAMS, program);
  return [process.execPath, ...nodeArguments, '--import', TSX, file, ...args];
}

/** Runs a command to its end; after `timeout` milliseconds it is killed, which shows in `signal`. */
export async function runChild(
  [command, ...args]: readonly [string, ...string[]],
  timeout = 120_000,
): Promise<ChildResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, timeout, killSignal: 'SIGKILL' });
    let stdout = '';
    let stderr = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
    child.on('error', reject);
    child.on('close', (status, signal) => {
      resolve({ status, signal, stdout, stderr });
    });
  });
}

/** The JSON that a program printed; fails with its standard error unless it ended well. */
export function parseOutput(result: ChildResult): unknown {
  if (result.status !== 0) {
    const end = result.signal ?? `status ${String(result.status)}`;
    throw new Error(`the program ended with ${end}:\n${result.stderr}`);
  }
  return JSON.parse(result.stdout);
}
