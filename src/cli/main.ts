#!/usr/bin/env node
/** The `wgqa` program: connects `run` with this process. */
import process from 'node:process';
import { InterruptedError, OutputClosedError, warn, type CliContext } from './context.ts';
import { EXIT_CODES, reportError, run } from './run.ts';

const controller = new AbortController();
const { stdin, stdout, stderr } = process;
const context: CliContext = {
  stdin: stdin as AsyncIterable<Uint8Array>,
  stdout,
  stderr,
  signal: controller.signal,
};
const args = process.argv.slice(2);

/** One Ctrl-C may come twice: from the terminal, and from a parent that passes it on. */
const SAME_SIGNAL_MILLISECONDS = 1000;

// The first signal lets the command end in order; another one, later, ends the process at once.
let abortedAt: number | undefined;
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.on(name, () => {
    abortedAt ??= performance.now();
    controller.abort(new InterruptedError(name));
    if (performance.now() - abortedAt < SAME_SIGNAL_MILLISECONDS) return;
    process.removeAllListeners(name);
    process.kill(process.pid, name);
  });
}

// The reader of a pipe may leave early (`wgqa … | head`), which is its right; a full disk is not.
let isOutputLost = false;
stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (isOutputLost) return;
  isOutputLost = true;
  if (error.code === 'EPIPE') {
    controller.abort(new OutputClosedError());
    return;
  }
  reportError(Object.assign(error, { path: 'standard output' }), args, context);
  process.exitCode = EXIT_CODES.failed;
  controller.abort(error);
});
// Work goes on when nobody reads its messages: there is no place to tell of it.
stderr.on('error', () => undefined);

// What Node itself would print has a process number before and a stack behind it.
process.removeAllListeners('warning');
process.on('warning', ({ message }) => {
  warn(context, message);
});

const code = await run(args, context);
process.exitCode ??= code; // unless the output was lost
