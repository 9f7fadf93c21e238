/**
 * Options that few requests have, as Hugging Face's transformers defines them
 * (generation/logits_process.py), in three groups around the others: see logits-processors.ts.
 */
import type { ResolvedOptions } from '../../decode/request-reader.ts';
import { addToRow, FORBIDDEN, logSumExp, rowMax, topTokens } from './row-math.ts';

/** What a row is processed with. */
export interface RowContext {
  readonly options: ResolvedOptions;
  /** Tokens of the encoder. */
  readonly source: Int32Array;
  /** The decoder's prompt, of `promptTokens`, and what was generated after it. */
  readonly history: readonly number[];
  readonly promptTokens: number;
}

type RowEdits = NonNullable<ResolvedOptions['edits']>;

const LARGEST = 2 ** 128 - 2 ** 104;

/** Before the repetition penalty: sequence_bias, encoder_repetition_penalty. */
export function editBeforePenalty(row: RowContext, scores: Float32Array): void {
  const { edits } = row.options;
  if (edits === undefined) return;
  const { biased, biases, encoderRepetitionPenalty } = edits;
  for (const [i, sequence] of sequencesOf(biased).entries()) {
    if (leadsTo(row, sequence)) scores[sequence.at(-1)!]! += biases[i]!;
  }
  if (encoderRepetitionPenalty === 1) return;
  const penalty = Math.fround(1 / encoderRepetitionPenalty);
  for (const token of new Set(row.source)) {
    const score = scores[token]!;
    scores[token] = score < 0 ? score * penalty : score / penalty;
  }
}

/** After forbidden tokens, before the temperature. */
export function editBeforeFilters(row: RowContext, scores: Float32Array): void {
  const { edits, eosTokenIds } = row.options;
  if (edits === undefined) return;
  const forbid = (token: number): void => {
    scores[token] = FORBIDDEN;
  };
  if (edits.encoderNoRepeatNgramSize > 0) {
    continuations(row.history, row.source, edits.encoderNoRepeatNgramSize).forEach(forbid);
  }
  for (const sequence of sequencesOf(edits.badWords)) {
    // An end token alone is no bad word.
    if (sequence.length === 1 && eosTokenIds.includes(sequence[0]!)) continue;
    if (leadsTo(row, sequence)) forbid(sequence.at(-1)!);
  }
  forceEnds(row, edits, scores);
  if (edits.removeInvalidValues) removeInvalid(scores);
  raiseEndTokens(row, edits, scores);
  edits.suppressTokens.forEach(forbid);
  const isForced = row.promptTokens === 1 && edits.forcedBosTokenId !== undefined;
  if (row.history.length === row.promptTokens + Number(isForced)) {
    edits.beginSuppressTokens.forEach(forbid);
  }
}

/** After min-p, the last filter; `least` tokens stay. */
export function editAfterFilters(row: RowContext, scores: Float32Array, least: number): void {
  const { edits, doSample } = row.options;
  if (edits === undefined) return;
  const isOpen = (): boolean => rowMax(scores) > FORBIDDEN;
  if (doSample && isOpen()) {
    if (edits.typicalP < 1) keepTypical(scores, edits.typicalP, least);
    if (edits.epsilonCutoff > 0) keepProbable(scores, edits.epsilonCutoff, least);
    if (edits.etaCutoff > 0) {
      const byEntropy = Math.sqrt(edits.etaCutoff) * Math.exp(-entropyOf(scores));
      keepProbable(scores, Math.min(edits.etaCutoff, byEntropy), least);
    }
  }
  if (edits.renormalizeLogits && isOpen()) addToRow(scores, -logSumExp(scores));
}

function sequencesOf({ ids, offsets }: RowEdits['badWords']): Int32Array[] {
  return Array.from({ length: offsets.length - 1 }, (_, i) =>
    ids.subarray(offsets[i], offsets[i + 1]),
  );
}

/** transformers passes over sequences longer than the history, one token still to come or not. */
function leadsTo({ history }: RowContext, sequence: Int32Array): boolean {
  if (sequence.length > history.length) return false;
  const begin = history.length - sequence.length + 1;
  return sequence.subarray(0, -1).every((token, i) => history[begin + i] === token);
}

/** Tokens that follow the last `ngramSize` - 1 of `history` somewhere in `text`. */
function continuations(
  history: readonly number[],
  text: Int32Array,
  ngramSize: number,
): Int32Array {
  const prefix = ngramSize - 1;
  const newest = history.length - prefix;
  if (newest < 0) return new Int32Array();
  return text.filter((_, end) => {
    let same = 0;
    while (same < prefix && history[newest + same] === text[end - prefix + same]) ++same;
    return same === prefix;
  });
}

function forceEnds(row: RowContext, edits: RowEdits, scores: Float32Array): void {
  const { options, history, promptTokens } = row;
  const { forcedBosTokenId, forcedEosTokenIds } = edits;
  const force = (tokens: Iterable<number>): void => {
    scores.fill(FORBIDDEN);
    for (const token of tokens) scores[token] = 0;
  };
  if (forcedBosTokenId !== undefined && history.length === 1) force([forcedBosTokenId]);
  const isLast = history.length === promptTokens + options.maxNewTokens - 1;
  if (forcedEosTokenIds.length > 0 && isLast) force(forcedEosTokenIds);
}

function removeInvalid(scores: Float32Array): void {
  for (let i = 0; i < scores.length; ++i) {
    const score = scores[i]!;
    scores[i] = Number.isNaN(score) ? 0 : Math.max(-LARGEST, Math.min(LARGEST, score));
  }
}

function raiseEndTokens(row: RowContext, edits: RowEdits, scores: Float32Array): void {
  const { eosTokenIds } = row.options;
  if (edits.exponentialDecay === undefined) return;
  const { start, factor } = edits.exponentialDecay;
  const beyond = row.history.length - (row.promptTokens + start);
  if (beyond <= 0) return;
  const growth = Math.fround(factor ** beyond - 1);
  for (const token of eosTokenIds) {
    const score = scores[token]!;
    if (score === FORBIDDEN) continue;
    // A penalty beyond float32 would be infinity.
    const raised = score + Math.abs(score) * growth;
    scores[token] = Math.max(-LARGEST, Math.min(LARGEST, raised));
  }
}

function entropyOf(scores: Float32Array): number {
  const logSum = logSumExp(scores);
  let entropy = 0;
  for (const score of scores) {
    const probability = Math.exp(score - logSum);
    if (probability > 0) entropy -= probability * (score - logSum);
  }
  return entropy;
}

/** Locally typical sampling (arXiv 2202.00666). */
function keepTypical(scores: Float32Array, mass: number, least: number): void {
  const logSum = logSumExp(scores);
  const entropy = entropyOf(scores);
  const ranked = Array.from(scores, (score, token) => ({
    token,
    distance: Math.fround(Math.abs(logSum - score - entropy)),
  })).sort((a, b) => (a.distance === b.distance ? a.token - b.token : a.distance - b.distance));
  let sum = 0;
  const last = ranked.findIndex(({ token }) => (sum += Math.exp(scores[token]! - logSum)) >= mass);
  const farthest = ranked.at(last)!.distance;
  for (const { token, distance } of ranked.slice(least)) {
    if (distance > farthest) scores[token] = FORBIDDEN;
  }
}

/** Forbids less probable tokens, but not the `kept` best and what ties with the last of them. */
function keepProbable(scores: Float32Array, least: number, kept: number): void {
  const logSum = logSumExp(scores);
  const keptScore = topTokens(scores, 0, kept)[kept - 1]?.score ?? FORBIDDEN;
  for (let i = 0; i < scores.length; ++i) {
    const improbable = Math.exp(scores[i]! - logSum) < least;
    if (improbable && scores[i]! < keptScore) scores[i] = FORBIDDEN;
  }
}
