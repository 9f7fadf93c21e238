/**
 * What changes a row of scores before a token is chosen, in the order and with the meaning of
 * Hugging Face's transformers. Greedy decoding and sampling process logits, beam search
 * log-probabilities.
 */
import type { ResolvedOptions } from '../../decode/request-reader.ts';
import {
  editAfterFilters,
  editBeforeFilters,
  editBeforePenalty,
  type RowContext,
} from './row-edits.ts';
import { FORBIDDEN, rankedTokens, rowMax, softmaxWeights, topTokens } from './row-math.ts';

/** All processing that the row's options ask for, in place. */
export function processScores(row: RowContext, scores: Float32Array): void {
  const { options, history, promptTokens } = row;
  const { repetitionPenalty, noRepeatNgramSize, minNewTokens, eosTokenIds } = options;
  editBeforePenalty(row, scores);
  if (repetitionPenalty !== 1) penaliseRepetition(scores, history, repetitionPenalty);
  if (noRepeatNgramSize > 0) forbidRepeatedNgrams(scores, history, noRepeatNgramSize);
  if (history.length - promptTokens < minNewTokens) {
    for (const token of eosTokenIds) scores[token] = FORBIDDEN;
  }
  editBeforeFilters(row, scores);
  if (options.doSample) keepForSampling(options, scores);
  editAfterFilters(row, scores, leastTokens(options));
}

/** Samples of a beam must be able to end and to go on, so beam search keeps more than one token. */
function leastTokens({ numBeams, eosTokenIds }: ResolvedOptions): number {
  return numBeams > 1 ? eosTokenIds.length + 1 : 1;
}

function keepForSampling(options: ResolvedOptions, scores: Float32Array): void {
  const { temperature, topK, topP, minP } = options;
  const least = leastTokens(options);
  if (temperature !== 1) for (let i = 0; i < scores.length; ++i) scores[i]! /= temperature;
  if (topK > 0) keepTopK(scores, Math.max(topK, least));
  if (topP < 1) keepTopP(scores, topP, least);
  if (minP > 0) keepMinP(scores, minP, least);
}

/** Scores of tokens in the history are divided by `penalty` if positive, else multiplied. */
function penaliseRepetition(
  scores: Float32Array,
  history: readonly number[],
  penalty: number,
): void {
  for (const token of new Set(history)) {
    const score = scores[token]!;
    scores[token] = score < 0 ? score * penalty : score / penalty;
  }
}

/** Forbids every token that would complete an n-gram which the history already holds. */
function forbidRepeatedNgrams(
  scores: Float32Array,
  history: readonly number[],
  ngramSize: number,
): void {
  const prefix = ngramSize - 1;
  const newest = history.length - prefix;
  for (let end = prefix; end < history.length; ++end) {
    let same = 0;
    while (same < prefix && history[newest + same] === history[end - prefix + same]) ++same;
    if (same === prefix) scores[history[end]!] = FORBIDDEN;
  }
}

function forbidBelow(scores: Float32Array, threshold: number): void {
  for (let i = 0; i < scores.length; ++i) if (scores[i]! < threshold) scores[i] = FORBIDDEN;
}

/** The k-th best allowed score; -Infinity if there are fewer. */
function kthBest(scores: Float32Array, k: number): number {
  return topTokens(scores, 0, k)[k - 1]?.score ?? FORBIDDEN;
}

/** Keeps the k best scores and what ties with the last of them. */
function keepTopK(scores: Float32Array, k: number): void {
  if (k < scores.length) forbidBelow(scores, kthBest(scores, k));
}

/** Keeps the smallest set of best tokens with a probability of p together, and `least` of them. */
function keepTopP(scores: Float32Array, p: number, least: number): void {
  const weights = softmaxWeights(scores);
  const wanted = p * weights.reduce((sum, weight) => sum + weight, 0);
  let mass = 0;
  const ranked = rankedTokens(scores);
  const last = ranked.findIndex(({ token }) => (mass += weights[token]!) >= wanted);
  if (last < 0) return;
  for (const { token } of ranked.slice(Math.max(last + 1, least))) scores[token] = FORBIDDEN;
}

/** Keeps tokens at least `minP` times as probable as the best one, and `least` of them. */
function keepMinP(scores: Float32Array, minP: number, least: number): void {
  const threshold = Math.fround(rowMax(scores) + Math.fround(Math.log(minP)));
  forbidBelow(scores, Math.min(threshold, kthBest(scores, least)));
}
