import { invalidArgument } from '../errors.ts';
import { booleanRule, checkOptions, integerIn, numberIn, oneOf, type Rules } from '../options.ts';
import { type References, checkCorpus } from './checks.ts';
import { type NgramCounts, countMatches, countNgrams } from './ngrams.ts';
import { splitWhitespace, tokenize13a } from './tokenizer13a.ts';

/**
 * The release of sacreBLEU whose results these functions reproduce; it ends the signature, because
 * that is what a reader needs to compare two scores.
 */
export const SACREBLEU_VERSION = '2.6.0';

/** Every order counts all n-grams of a text anew. */
const MAX_ORDER = 16;

export const BLEU_SMOOTHINGS = ['exp', 'floor', 'add-k', 'none'] as const;
export type BleuSmoothing = (typeof BLEU_SMOOTHINGS)[number];

export const BLEU_TOKENIZERS = ['13a', 'none'] as const;
export type BleuTokenizer = (typeof BLEU_TOKENIZERS)[number];

export interface BleuOptions {
  /** `'13a'` (default) or `'none'`, which splits at whitespace. */
  readonly tokenizer?: BleuTokenizer;
  /** Compare in lower case. Default false. */
  readonly lowercase?: boolean;
  /**
   * What stands for the precision of an order without a match: `'exp'` (default) halves it from one
   * such order to the next, `'floor'` counts `smoothingValue` matches, `'none'` leaves zero.
   * `'add-k'` adds `smoothingValue` to matches and totals of all orders above 1.
   */
  readonly smoothing?: BleuSmoothing;
  /** Default 0.1 for `'floor'`, 1 for `'add-k'`; the other methods take none. */
  readonly smoothingValue?: number;
  /**
   * Average only over the orders for which the hypotheses have n-grams. Default false for a corpus,
   * true for a sentence.
   */
  readonly effectiveOrder?: boolean;
  /** Longest n-gram, from 1 to 16. Default 4. */
  readonly maxOrder?: number;
}

export interface BleuResult {
  /** 0..100. */
  readonly score: number;
  /** Percent, one per order, after smoothing. */
  readonly precisions: number[];
  readonly brevityPenalty: number;
  /** `hypothesisLength / referenceLength`, 0 where the references are empty. */
  readonly ratio: number;
  /** Tokens. */
  readonly hypothesisLength: number;
  /** Tokens, of the reference closest in length to each hypothesis. */
  readonly referenceLength: number;
  /** Matched n-grams, one per order; as in sacreBLEU, including what `'add-k'` adds. */
  readonly counts: number[];
  /** Hypothesis n-grams, one per order; as `counts`. */
  readonly totals: number[];
  /** sacreBLEU's signature, e.g. `nrefs:1|case:mixed|eff:no|tok:13a|smooth:exp|version:2.6.0`. */
  readonly signature: string;
}

/** Sufficient statistics of BLEU: sums over segments. */
export interface BleuStatistics {
  hypothesisLength: number;
  referenceLength: number;
  /** Matched n-grams, one per order. */
  readonly counts: number[];
  /** Hypothesis n-grams, one per order. */
  readonly totals: number[];
}

interface ResolvedOptions {
  readonly tokenizer: BleuTokenizer;
  readonly lowercase: boolean;
  readonly smoothing: BleuSmoothing;
  readonly smoothingValue: number | undefined;
  readonly effectiveOrder: boolean;
  readonly maxOrder: number;
}

const RULES = {
  tokenizer: oneOf(...BLEU_TOKENIZERS),
  lowercase: booleanRule,
  smoothing: oneOf(...BLEU_SMOOTHINGS),
  smoothingValue: numberIn({ min: 0 }),
  effectiveOrder: booleanRule,
  maxOrder: integerIn(1, MAX_ORDER),
} satisfies Rules;

/** sacreBLEU's defaults, from Chen and Cherry, WMT 2014 (W14-3346). */
const DEFAULT_SMOOTHING_VALUES: Partial<Record<BleuSmoothing, number>> = { floor: 0.1, 'add-k': 1 };

/** Stands for the logarithm of zero, as in sacreBLEU: finite, but its exponential is zero. */
const LOG_ZERO = -9999999999;

/**
 * Corpus BLEU (Papineni et al., 2002) as sacreBLEU computes it (Post, 2018, W18-6319), with the
 * same tokens, smoothing, brevity penalty and signature.
 *
 * @param references `references[i]` is the reference of `hypotheses[i]`, or the list of them; lists
 * may differ in length. (sacreBLEU's Python API takes the transpose: one stream per reference.)
 * @throws WgqaError `INVALID_ARGUMENT` for an empty corpus, mismatched lengths or a bad option.
 */
export function computeBleu(
  hypotheses: readonly string[],
  references: References,
  options: BleuOptions = {},
): BleuResult {
  const resolved = resolveOptions(options, false);
  const lists = checkCorpus(hypotheses, references);
  const statistics = emptyStatistics(resolved.maxOrder);
  hypotheses.forEach((hypothesis, index) => {
    addSegment(statistics, hypothesis, lists[index] ?? [], resolved);
  });
  return finish(statistics, resolved, lists);
}

/**
 * BLEU of one sentence, as `sacrebleu.sentence_bleu`: `effectiveOrder` is on unless turned off.
 * BLEU is a corpus metric; the mean of sentence scores is not the corpus score.
 *
 * @throws WgqaError `INVALID_ARGUMENT` for no reference or a bad option.
 */
export function computeSentenceBleu(
  hypothesis: string,
  references: string | readonly string[],
  options: BleuOptions = {},
): BleuResult {
  const resolved = resolveOptions(options, true);
  const lists = checkCorpus([hypothesis], [references] as References);
  const statistics = emptyStatistics(resolved.maxOrder);
  addSegment(statistics, hypothesis, lists[0] ?? [], resolved);
  return finish(statistics, resolved, lists);
}

/** The score of given sums, without a signature: for sums gathered over several corpora. */
export function scoreBleuStatistics(
  statistics: BleuStatistics,
  options: BleuOptions = {},
): Omit<BleuResult, 'signature'> {
  const { counts, totals, hypothesisLength, referenceLength } = statistics;
  const resolved = resolveOptions({ maxOrder: counts.length, ...options }, false);
  const lengths = {
    brevityPenalty: brevityPenalty(hypothesisLength, referenceLength),
    ratio: referenceLength > 0 ? hypothesisLength / referenceLength : 0,
    hypothesisLength,
    referenceLength,
  };
  if (counts.every((count) => count === 0)) {
    const precisions = counts.map(() => 0);
    return { score: 0, precisions, ...lengths, counts: [...counts], totals: [...totals] };
  }
  const smoothed = smooth(counts, totals, resolved);
  const used = smoothed.precisions.slice(0, smoothed.order);
  const sum = used.reduce((total, p) => total + (p === 0 ? LOG_ZERO : Math.log(p)), 0);
  return {
    score: lengths.brevityPenalty * Math.exp(sum / smoothed.order),
    precisions: smoothed.precisions,
    ...lengths,
    counts: smoothed.counts,
    totals: smoothed.totals,
  };
}

interface SmoothedPrecisions {
  readonly precisions: number[];
  readonly counts: number[];
  readonly totals: number[];
  /** Orders the score averages over. */
  readonly order: number;
}

/** Percent precisions per order; stops at the first order the hypotheses are too short for. */
function smooth(
  counts: readonly number[],
  totals: readonly number[],
  options: ResolvedOptions,
): SmoothedPrecisions {
  const { smoothing, smoothingValue = 0 } = options;
  const result = { precisions: counts.map(() => 0), counts: [...counts], totals: [...totals] };
  let order = options.maxOrder;
  let halvings = 1;
  for (let n = 0; n < options.maxOrder; n += 1) {
    const added = smoothing === 'add-k' && n > 0 ? smoothingValue : 0;
    const count = (counts[n] ?? 0) + added;
    const total = (totals[n] ?? 0) + added;
    result.counts[n] = count;
    result.totals[n] = total;
    if (total === 0) break;
    if (options.effectiveOrder) order = n + 1;
    if (count > 0) {
      result.precisions[n] = (100 * count) / total;
    } else if (smoothing === 'exp') {
      halvings *= 2;
      result.precisions[n] = 100 / (halvings * total);
    } else if (smoothing === 'floor') {
      result.precisions[n] = (100 * smoothingValue) / total;
    }
  }
  return { ...result, order };
}

function brevityPenalty(hypothesisLength: number, referenceLength: number): number {
  if (hypothesisLength >= referenceLength) return 1;
  return hypothesisLength > 0 ? Math.exp(1 - referenceLength / hypothesisLength) : 0;
}

function emptyStatistics(maxOrder: number): BleuStatistics {
  return {
    hypothesisLength: 0,
    referenceLength: 0,
    counts: new Array<number>(maxOrder).fill(0),
    totals: new Array<number>(maxOrder).fill(0),
  };
}

/** Adds one segment's lengths and n-gram matches to `statistics`. */
function addSegment(
  statistics: BleuStatistics,
  hypothesis: string,
  references: readonly string[],
  options: ResolvedOptions,
): void {
  const tokens = tokenize(hypothesis, options);
  const referenceTokens = references.map((reference) => tokenize(reference, options));
  statistics.hypothesisLength += tokens.length;
  statistics.referenceLength += closestLength(tokens.length, referenceTokens);
  for (let n = 0; n < options.maxOrder; n += 1) {
    const allowed = maximumCounts(referenceTokens.map((list) => countNgrams(list, n + 1)));
    const matches = countMatches(countNgrams(tokens, n + 1), allowed);
    statistics.counts[n] = (statistics.counts[n] ?? 0) + matches;
    statistics.totals[n] = (statistics.totals[n] ?? 0) + Math.max(0, tokens.length - n);
  }
}

function tokenize(segment: string, options: ResolvedOptions): string[] {
  const text = options.lowercase ? segment.toLowerCase() : segment;
  return options.tokenizer === '13a' ? tokenize13a(text) : splitWhitespace(text);
}

/** Length of the reference closest to `length`; the shorter one of two equally close. */
function closestLength(length: number, references: readonly (readonly string[])[]): number {
  const lengths = references.map((tokens) => tokens.length).sort((a, b) => a - b);
  return lengths.reduce((best, candidate) =>
    Math.abs(candidate - length) < Math.abs(best - length) ? candidate : best,
  );
}

/** For each n-gram, the most often it occurs in any one reference. */
function maximumCounts(perReference: readonly NgramCounts[]): NgramCounts {
  const maximum: NgramCounts = new Map(perReference[0]);
  for (const counts of perReference.slice(1)) {
    for (const [key, count] of counts) maximum.set(key, Math.max(count, maximum.get(key) ?? 0));
  }
  return maximum;
}

function finish(
  statistics: BleuStatistics,
  options: ResolvedOptions,
  references: readonly (readonly string[])[],
): BleuResult {
  const { smoothing, smoothingValue, effectiveOrder, maxOrder } = options;
  const scored = scoreBleuStatistics(statistics, {
    smoothing,
    effectiveOrder,
    maxOrder,
    ...(smoothingValue === undefined ? {} : { smoothingValue }),
  });
  return { ...scored, signature: signatureOf(options, references) };
}

function signatureOf(options: ResolvedOptions, references: readonly (readonly string[])[]): string {
  const counts = new Set(references.map((list) => list.length));
  const value =
    options.smoothingValue === undefined ? '' : `[${options.smoothingValue.toFixed(2)}]`;
  return [
    `nrefs:${counts.size === 1 ? String([...counts][0]) : 'var'}`,
    `case:${options.lowercase ? 'lc' : 'mixed'}`,
    `eff:${options.effectiveOrder ? 'yes' : 'no'}`,
    `tok:${options.tokenizer}`,
    `smooth:${options.smoothing}${value}`,
    `version:${SACREBLEU_VERSION}`,
  ].join('|');
}

function resolveOptions(options: BleuOptions, effectiveOrder: boolean): ResolvedOptions {
  const given = checkOptions(options, RULES);
  const { smoothing = 'exp' } = given;
  return {
    tokenizer: given.tokenizer ?? '13a',
    lowercase: given.lowercase ?? false,
    smoothing,
    smoothingValue: resolveSmoothingValue(smoothing, given.smoothingValue),
    effectiveOrder: given.effectiveOrder ?? effectiveOrder,
    maxOrder: given.maxOrder ?? 4,
  };
}

function resolveSmoothingValue(
  smoothing: BleuSmoothing,
  value: number | undefined,
): number | undefined {
  const standard = DEFAULT_SMOOTHING_VALUES[smoothing];
  if (value === undefined) return standard;
  if (standard !== undefined) return value;
  throw invalidArgument('smoothingValue', `absent for smoothing '${smoothing}'`, value);
}
