/** The addon in worker threads that are terminated while it computes. */
import { expect, test } from '@jest/globals';
import { parseOutput, programCommand, runChild } from '../support/child.ts';

test.each(['training', 'decoding', 'loading'])(
  'a worker terminated while %s neither hangs nor crashes the process',
  async (task) => {
    const result = await runChild(programCommand('terminate-worker.ts', [task]));
    expect(Number.isFinite(parseOutput(result))).toBe(true);
  },
  150_000,
);
