#!/usr/bin/env node
/** The `wgqa` program: connects `run` with this process. */
import process from 'node:process';
import { OutputClosedError } from './context.ts';
import { run } from './run.ts';

const controller = new AbortController();

// The first signal lets the command end in order; after it, the default action is back.
for (const name of ['SIGINT', 'SIGTERM'] as const) {
  process.once(name, () => {
    controller.abort(new Error(name));
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
