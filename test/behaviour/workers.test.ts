/** The addon in worker threads that are terminated while it computes. */
import { expect, test } from '@jest/globals';
import { parseOutput, programCommand, runChild } from '../support/child.ts';

test.each([
  ['training', 4],
  ['decoding', 20],
  ['loading', 4],
])(
  'a worker terminated while %s neither hangs nor crashes the process, %i times',
  async (task, workers) => {
    const result = await runChild(programCommand('terminate-worker.ts', [task, String(workers)]));
    expect(Number.isFinite(parseOutput(result))).toBe(true);
  },
  150_000,
);
