/** How the next tokens of one request are chosen: what the graph's steps and a strategy agree on. */
import { WgqaError } from '../../errors.ts';
import type { FinishedSequence, ResolvedOptions } from '../../decode/request-reader.ts';
import type { StopStrings } from './stop-strings.ts';

/** The token that a row of the next step feeds, and the row of the last step it extends. */
export interface Continuation {
  readonly parent: number;
  readonly token: number;
}

/**
 * A request starts with one row, which feeds the whole prompt. A step is `score` for each row in
 * order, then `advance`; no continuation left means that it is finished.
 */
export interface Strategy {
  readonly continuations: readonly Continuation[];
  /** Takes in a row of logits [vocabulary], which it may overwrite. */
  score(row: number, logits: Float32Array): void;
  advance(): void;
  /** The finished sequences, once no continuation is left. */
  sequences(): FinishedSequence[];
}

export interface StrategyRequest {
  readonly options: ResolvedOptions;
  /** The start token and the forced prefix. */
  readonly prompt: readonly number[];
  readonly stops: StopStrings;
}

/** Called when a token was chosen for good; never with beams. */
export type OnToken = (sequence: number, token: number, logProb: number) => void;

export function nonFiniteLogits(): WgqaError {
  const message = 'the logits hold NaN or infinity, or allow no token at all';
  return new WgqaError('NON_FINITE', message, { field: 'logits' });
}
