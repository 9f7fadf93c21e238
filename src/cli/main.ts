#!/usr/bin/env node
/** The `wgqa` program: connects `run` with this process. */
import process from 'node:process';
import { OutputClosedError } from './context.ts';
import { run } from './run.ts';

const controller = new AbortController();

/** One Ctrl-C may come twice: from the terminal, and from a parent that passes it on. */
const SAME_SIGNAL_MILLISECONDS = 1000;

// The first signal lets the command end in order; another one, later, ends the process at once.
let abortedAt: number | undefined;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    abortedAt ??= performance.now();
    controller.abort(new Error(name));
    if (performance.now() - abortedAt < SAME_SIGNAL_MILLISECONDS) return;
    process.removeAllListeners(name);
    process.kill(process.pid, name);
  });
}

// The reader of a pipe may leave early (`wgqa … | head`), which is its right.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  controller.abort(new OutputClosedError());
});

const { stdin, stdout, stderr } = process;
process.exitCode = await run(process.argv.slice(2), {
  stdin: stdin as AsyncIterable<Uint8Array>,
  stdout,
  stderr,
  signal: controller.signal,
});
