/** Work on a model's parameters that nothing else may come between: a training step, a save. */
import { abortError, onAbort, throwIfAborted } from './abort.ts';

export class Turns {
  #waiting = 0;
  #last: Promise<unknown> = Promise.resolve();

  /** Nobody has a turn or waits for one. */
  get isFree(): boolean {
    return this.#waiting === 0;
  }

  /**
   * Runs `work` after everything that was asked for before it.
   * @throws WgqaError ABORTED when `signal` fires before its turn comes
   */
  async take<T>(work: () => Promise<T>, signal?: AbortSignal): Promise<T> {
    throwIfAborted(signal);
    this.#waiting += 1;
    let forget = (): void => undefined;
    const aborted = new Promise<never>((_, reject) => {
      forget = onAbort(signal, () => {
        if (signal) reject(abortError(signal));
      });
    });
    const turn = this.#last.then(() => {
      forget();
      throwIfAborted(signal);
      return work();
    });
    this.#last = turn
      .catch(() => undefined)
      .finally(() => {
        this.#waiting -= 1;
      });
    return Promise.race([turn, aborted]);
  }
}
