/** What native code checks of a request, and what graphs cannot do. */
import type { DecodeTask, ResolvedOptions } from '../decode/request-reader.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import type { CandidateCounts } from './decoding/index.ts';

/** Sequences of a request: each has K and V of its own in every step's inputs. */
export const MAX_SEQUENCES = 256;
/** A step sorts as many for each beam. */
const MAX_CANDIDATES = 2048;

/** @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED */
export function checkForGraphs({ options, stops, processors }: DecodeTask): void {
  if (processors.length > 0) {
    const allowed = 'absent: tokens are chosen in the thread of the graphs; Engine has them';
    const message = `logitsProcessors must be ${allowed}`;
    throw new WgqaError('UNSUPPORTED', message, { field: 'logitsProcessors', allowed });
  }
  const { numBeams } = options;
  if (numBeams > 1 && candidateCounts(options, stops).ofRow > MAX_CANDIDATES) {
    const allowed =
      `at most ${MAX_CANDIDATES} divided by 1 + the number of end tokens, ` +
      'with doSample or stop';
    throw invalidArgument('numBeams', allowed, numBeams);
  }
}

/**
 * transformers looks at (1 + end tokens), or 2 if that is more, times the beams. Where end tokens
 * alone end a beam, a row needs no more than the beams and the end tokens for the same result.
 */
export function candidateCounts(
  { numBeams, eosTokenIds, doSample }: ResolvedOptions,
  stops: readonly string[],
): CandidateCounts {
  const ends = eosTokenIds.length;
  if (doSample || stops.length > 0) {
    const count = Math.max(2, 1 + ends) * numBeams;
    return { ofRow: count, ofStep: count };
  }
  return { ofRow: Math.max(2 * numBeams, numBeams + ends), ofStep: Infinity };
}
