/** Thousands of requests that come and go, half of them aborted. */
import { beforeAll, expect, test } from '@jest/globals';
import { parseOutput, programCommand, runChild } from '../support/child.ts';

const REQUESTS = 10_000;
// Of the event loop, as in event-loop.test.ts: here it works on requests itself, all the time.
const MAX_LATENESS = 20;
const MIN_WINDOWS = 3;
// A request, its promises and its result take some 5 kB: keeping those of the second half would add
// 25 MB. The allocator and the garbage collector move the median by a few.
const MAX_GROWTH = 12 * 2 ** 20;

interface Outcome {
  readonly resident: readonly number[];
  /** Of each window of ticks, in milliseconds. */
  readonly late99: readonly number[];
  readonly left: Readonly<Record<string, number>>;
  readonly completed: number;
  readonly aborted: number;
  readonly failed: number;
  readonly preemptions: number;
}

let outcome: Outcome;

beforeAll(async () => {
  const command = programCommand('request-churn.ts', [String(REQUESTS)], ['--expose-gc']);
  outcome = parseOutput(await runChild(command, 240_000)) as Outcome;
}, 300_000);

test('all of them end, and no block is lost', () => {
  const { completed, aborted, failed, preemptions, left } = outcome;
  expect(left).toEqual({ queued: 0, running: 0, held: 0, referenced: 0 });
  expect(failed).toBe(0);
  expect(aborted).toBeGreaterThan(REQUESTS / 10);
  expect(completed).toBeGreaterThan(REQUESTS / 10);
  expect(preemptions).toBeGreaterThan(0);
});

test('resident memory is flat', () => {
  const { resident } = outcome;
  expect(resident).toHaveLength(REQUESTS / 1000);
  const half = resident.length / 2;
  expect(median(resident.slice(half)) - median(resident.slice(0, half))).toBeLessThan(MAX_GROWTH);
});

// A busy machine only adds lateness, and the engine's own work is the same in every window.
test('a timer of 5 ms is late by at most 20 ms in 99 of 100 cases of the best window', () => {
  expect(outcome.late99.length).toBeGreaterThanOrEqual(MIN_WINDOWS);
  expect(Math.min(...outcome.late99)).toBeLessThanOrEqual(MAX_LATENESS);
});

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? NaN;
}
