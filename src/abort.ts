/** An AbortSignal as errors. */
import { WgqaError } from './errors.ts';

/** @throws WgqaError ABORTED, with the signal's reason as cause, if it has fired */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw abortError(signal);
}

export function abortError(signal: AbortSignal): WgqaError {
  return new WgqaError('ABORTED', 'the operation was aborted', { cause: signal.reason });
}
