/** An AbortSignal carried into native code. */
import { setMaxListeners } from 'node:events';
import { abortError, throwIfAborted } from '../abort.ts';
import { WgqaError } from '../errors.ts';
import { callNative, native, type NativeAbortFlag } from '../native.ts';

export { abortError, throwIfAborted };

/**
 * Runs native work that stops early when `signal` fires.
 * @throws WgqaError ABORTED, with the signal's reason as cause
 */
export async function abortable<T>(
  signal: AbortSignal | undefined,
  work: (flag: NativeAbortFlag | undefined) => Promise<T>,
): Promise<T> {
  if (signal === undefined) return callNative(() => work(undefined));
  throwIfAborted(signal);
  const flag = new (native().AbortFlag)();
  const forget = onAbort(signal, () => {
    flag.abort();
  });
  try {
    return await callNative(() => work(flag));
  } catch (error) {
    throw error instanceof WgqaError && error.code === 'ABORTED' ? abortError(signal) : error;
  } finally {
    forget();
  }
}

/**
 * Calls `abort` when `signal` fires, unless the returned function was called before. One signal for
 * any number of requests is usual, and no leak that Node should warn of.
 */
export function onAbort(signal: AbortSignal | undefined, abort: () => void): () => void {
  if (signal === undefined) return () => undefined;
  if (signal instanceof EventTarget) setMaxListeners(0, signal);
  signal.addEventListener('abort', abort, { once: true });
  return () => {
    signal.removeEventListener('abort', abort);
  };
}
