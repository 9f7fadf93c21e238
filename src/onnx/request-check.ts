/** What native code checks of a request, and what graphs cannot do. */
import type { DecodeTask } from '../decode/request-reader.ts';
import { invalidArgument, WgqaError } from '../errors.ts';

/** @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED */
export function checkForGraphs({ options, processors }: DecodeTask): void {
  if (processors.length > 0) {
    const allowed = 'absent: tokens are chosen in the thread of the graphs; Engine has them';
    const message = `logitsProcessors must be ${allowed}`;
    throw new WgqaError('UNSUPPORTED', message, { field: 'logitsProcessors', allowed });
  }
  const { minNewTokens, maxNewTokens, numBeams, numReturnSequences, doSample } = options;
  if (minNewTokens > maxNewTokens) {
    throw invalidArgument('minNewTokens', `an integer from 0 to ${maxNewTokens}`, minNewTokens);
  }
  if (numBeams > 1 && numReturnSequences > numBeams) {
    const allowed = `at most numBeams (${numBeams})`;
    throw invalidArgument('numReturnSequences', allowed, numReturnSequences);
  }
  if (numBeams === 1 && !doSample && numReturnSequences > 1) {
    const allowed = '1 without doSample or numBeams > 1';
    throw invalidArgument('numReturnSequences', allowed, numReturnSequences);
  }
}
