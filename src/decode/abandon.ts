/** Waiting for a thread's work only as long as it is wanted. */
import type { WgqaError } from '../errors.ts';
import { onAbort } from '../model/index.ts';

export interface Abandonment {
  readonly signal: AbortSignal | undefined;
  /** What the work rejects with once the signal has fired. */
  readonly toError: () => WgqaError;
}

/**
 * What `running` settles with, or a rejection as soon as a signal fires: then `abandon` is called,
 * and what becomes of the work is nobody's concern.
 */
export async function unlessAbandoned<T>(
  running: Promise<T>,
  reasons: readonly Abandonment[],
  abandon: () => void,
): Promise<T> {
  const forget: (() => void)[] = [];
  const abandoned = new Promise<never>((_, reject) => {
    const giveUp = (toError: () => WgqaError): void => {
      abandon();
      reject(toError());
    };
    try {
      for (const { signal, toError } of reasons) {
        if (signal?.aborted) giveUp(toError);
        forget.push(
          onAbort(signal, () => {
            giveUp(toError);
          }),
        );
      }
    } catch (error) {
      // A signal that is none: nobody could stop the work any more.
      abandon();
      reject(error instanceof Error ? error : new Error(String(error)));
    }
  });
  try {
    return await Promise.race([running, abandoned]);
  } finally {
    running.catch(() => undefined);
    for (const each of forget) each();
  }
}

/** The abandonment of a caller's signal, if there is one. */
export function onSignal(
  signal: AbortSignal | undefined,
  toError: (signal: AbortSignal) => WgqaError,
): Abandonment[] {
  return signal === undefined ? [] : [{ signal, toError: () => toError(signal) }];
}
