import { setImmediate as nextTurn } from 'node:timers/promises';

// Timers and I/O of the rest of the program wait no longer than this for their turn.
const MAX_BLOCKING_MS = 4;

/** To be awaited between pieces of work of well under a millisecond. */
export type LetOthersRun = () => Promise<void> | undefined;

/** A function that lets timers and I/O run whenever its caller has held the thread for 4 ms. */
export function takeTurns(): LetOthersRun {
  let turnStart = performance.now();
  return () => {
    if (performance.now() - turnStart < MAX_BLOCKING_MS) return undefined;
    return nextTurn().then(() => {
      turnStart = performance.now();
    });
  };
}
