/** How the next tokens of one request are chosen: what the graph's steps and a strategy agree on. */
import { WgqaError } from '../../errors.ts';
import type { FinishedSequence, ResolvedOptions } from '../../decode/request-reader.ts';
import { isUsable, logSumExp, topTokens, type ScoredToken } from './row-math.ts';
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
  /** The next advance() ends every sequence that it does not end otherwise, for `maxTime`. */
  setLastStep(): void;
  advance(): void;
  /** The finished sequences, once no continuation is left. */
  sequences(): FinishedSequence[];
}

/** How many next tokens beam search looks at: of each row, and of all rows. */
export interface CandidateCounts {
  readonly ofRow: number;
  readonly ofStep: number;
}

export interface StrategyRequest {
  readonly options: ResolvedOptions;
  /** The start token and the forced prefix. */
  readonly prompt: readonly number[];
  /** Tokens of the encoder. */
  readonly source: Int32Array;
  readonly stops: StopStrings;
  readonly candidates: CandidateCounts;
}

/** Called when a token was chosen for good; never with beams. */
export type OnToken = (
  sequence: number,
  token: number,
  logProb: number,
  alternatives: readonly ScoredToken[],
) => void;

/**
 * The most probable tokens of an unprocessed row, `count` or fewer; their scores are
 * log-probabilities.
 */
export function alternativesOf(logits: Float32Array, count: number): readonly ScoredToken[] {
  return count === 0 ? [] : topTokens(logits, -logSumExp(logits), count);
}

/** Alternatives of all tokens of a sequence, as native code gives them. */
export function flatAlternatives(rows: readonly (readonly ScoredToken[])[], count: number) {
  if (count === 0) return {};
  const topTokenIds = new Int32Array(rows.length * count).fill(-1);
  const topLogProbs = new Float32Array(rows.length * count).fill(-Infinity);
  for (const [i, row] of rows.entries()) {
    topTokenIds.set(
      row.map(({ token }) => token),
      i * count,
    );
    topLogProbs.set(
      row.map(({ score }) => score),
      i * count,
    );
  }
  return { topTokenIds, topLogProbs };
}

/** What a row cannot be decoded with, unless removeInvalidValues mends it. */
export function checkUsable(logits: Float32Array, { edits }: ResolvedOptions): void {
  if (!edits?.removeInvalidValues && !isUsable(logits)) throw nonFiniteLogits();
}

function nonFiniteLogits(): WgqaError {
  const message = 'the logits hold NaN or infinity, or allow no token at all';
  return new WgqaError('NON_FINITE', message, { field: 'logits' });
}
