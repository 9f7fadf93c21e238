/** Processes that end while the addon computes. */
import { expect, test } from '@jest/globals';
import { programCommand, runChild } from '../support/child.ts';

const WORK = ['training', 'decoding', 'forward', 'creating'] as const;

test.each(WORK.flatMap((work) => [[work, 'exit', 0] as const, [work, 'throw', 1] as const]))(
  '%s: a process that ends by %s has code %i',
  async (work, ending, code) => {
    for (const milliseconds of [60, 210]) {
      const args = [work, ending, String(milliseconds)];
      const { status, signal } = await runChild(programCommand('exit-while.ts', args));
      expect({ status, signal }).toEqual({ status: code, signal: null });
    }
  },
  120_000,
);
