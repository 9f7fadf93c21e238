import { invalidArgument, WgqaError } from '../errors.ts';
import { booleanRule, checkOptions, type Rule, type Rules } from '../options.ts';
import { type References, checkCorpus } from './checks.ts';
import { indexTokens, lcsCost, lcsLength } from './lcs.ts';
import { countMatches, countNgrams } from './ngrams.ts';
import { porterStem } from './porter.ts';
import { summaryMatches } from './summary.ts';

/** `rouge1` to `rouge9` (n-grams), `rougeL` (sentence level), `rougeLsum` (summary level). */
export type RougeType = `rouge${1 | 2 | 3 | 4 | 5 | 6 | 7 | 8 | 9}` | 'rougeL' | 'rougeLsum';

export interface RougeOptions {
  /** Default `rouge1`, `rouge2`, `rougeL` and `rougeLsum`. */
  readonly types?: readonly RougeType[];
  /** Stem words of more than three characters. Default true (off in `rouge_score` itself). */
  readonly useStemmer?: boolean;
}

/** Each in 0..1. Papers report the F-measure times 100. */
export interface RougeScore {
  readonly precision: number;
  readonly recall: number;
  readonly fmeasure: number;
}

export interface RougeResult<T extends RougeType = RougeType> {
  /** Arithmetic mean over the examples of each of the three values. */
  readonly mean: Record<T, RougeScore>;
  /** One entry per hypothesis. */
  readonly examples: Record<T, RougeScore>[];
}

const DEFAULT_TYPES = ['rouge1', 'rouge2', 'rougeL', 'rougeLsum'] as const;
const typesRule: Rule<readonly RougeType[]> = {
  allowed: 'a non-empty array of ROUGE types',
  accepts: (value): value is readonly RougeType[] => Array.isArray(value) && value.length > 0,
};
const RULES = { types: typesRule, useStemmer: booleanRule } satisfies Rules;

/** Steps of some nanoseconds each that one pair of texts may take: a few seconds. */
const MAX_COST = 2 ** 29;
const ZERO: RougeScore = { precision: 0, recall: 0, fmeasure: 0 };

/**
 * ROUGE (Lin, 2004, W04-1013) as Google's `rouge_score` computes it: its tokens (ASCII letters and
 * digits, lower case), NLTK's Porter stemmer, and for `rougeLsum` the union of longest common
 * subsequences over sentences, which are lines of the text. With several references, each type
 * takes the one with the highest F-measure (`score_multi`).
 *
 * @param references `references[i]` is the reference of `hypotheses[i]`, or the list of them.
 * @throws WgqaError `INVALID_ARGUMENT` for an empty corpus, mismatched lengths, an unknown option or
 *   type, or texts whose longest common subsequences would take longer than some seconds.
 */
export function computeRouge<T extends RougeType = (typeof DEFAULT_TYPES)[number]>(
  hypotheses: readonly string[],
  references: References,
  options: RougeOptions & { readonly types?: readonly T[] } = {},
): RougeResult<T> {
  const { types: given = DEFAULT_TYPES, useStemmer = true } = checkOptions(options, RULES);
  const types = checkTypes(given as readonly T[]);
  const lists = checkCorpus(hypotheses, references);
  const tokenize = createTokenizer(useStemmer);
  const examples = hypotheses.map((hypothesis, index) => {
    const prediction = createText(hypothesis, tokenize);
    const targets = (lists[index] ?? []).map((reference) => createText(reference, tokenize));
    return mapTypes(types, (type) =>
      targets
        .map((target) => located(index, () => score(type, target, prediction)))
        .reduce((best, other) => (other.fmeasure > best.fmeasure ? other : best)),
    );
  });
  const mean = mapTypes(types, (type) => meanOf(examples.map((example) => example[type])));
  return { mean, examples };
}

/** A text tokenised as a whole and by sentence, each when first asked for. */
interface Text {
  tokens(): readonly string[];
  sentences(): readonly (readonly string[])[];
}

type Tokenize = (text: string) => string[];

/** `rouge_score`'s default tokenizer; stems are remembered for the tokenizer's lifetime. */
function createTokenizer(useStemmer: boolean): Tokenize {
  const stems = new Map<string, string>();
  const stem = (token: string): string => {
    const known = stems.get(token);
    if (known !== undefined) return known;
    const computed = porterStem(token);
    stems.set(token, computed);
    return computed;
  };
  return (text) => {
    const tokens = text.toLowerCase().match(/[a-z0-9]+/g) ?? [];
    return useStemmer ? tokens.map((token) => (token.length > 3 ? stem(token) : token)) : tokens;
  };
}

function createText(text: string, tokenize: Tokenize): Text {
  let tokens: string[] | undefined;
  let sentences: string[][] | undefined;
  const lines = (): string[] => text.split('\n').filter((line) => line !== '');
  return {
    tokens: () => (tokens ??= tokenize(text)),
    sentences: () => (sentences ??= lines().map(tokenize)),
  };
}

function score(type: RougeType, target: Text, prediction: Text): RougeScore {
  if (type === 'rougeLsum') return scoreSummary(target.sentences(), prediction.sentences());
  if (type === 'rougeL') return scoreSentence(target.tokens(), prediction.tokens());
  return scoreNgrams(target.tokens(), prediction.tokens(), Number(type.slice('rouge'.length)));
}

function scoreNgrams(
  target: readonly string[],
  prediction: readonly string[],
  order: number,
): RougeScore {
  const matches = countMatches(countNgrams(target, order), countNgrams(prediction, order));
  const ngramsIn = (tokens: readonly string[]): number => Math.max(tokens.length - order + 1, 0);
  return fromMatches(matches, ngramsIn(prediction), ngramsIn(target));
}

function scoreSentence(target: readonly string[], prediction: readonly string[]): RougeScore {
  checkCost(lcsCost(target.length, prediction.length));
  const indexed = indexTokens(prediction);
  return fromMatches(lcsLength(target, indexed), prediction.length, target.length);
}

function scoreSummary(
  target: readonly (readonly string[])[],
  prediction: readonly (readonly string[])[],
): RougeScore {
  const hits = summaryMatches(target, prediction, checkCost);
  return fromMatches(hits, prediction.flat().length, target.flat().length);
}

/** Found before the work begins, which holds the thread. */
class TooCostly extends Error {}

function checkCost(steps: number): void {
  if (steps > MAX_COST) throw new TooCostly();
}

/** The error of texts that are too long for each other, which names them. */
function located<T>(index: number, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (!(error instanceof TooCostly)) throw error;
    const field = `hypotheses[${index}]`;
    const allowed = 'texts of at most some hundred thousand words; rouge1 and rouge2 have no limit';
    const message = `${field} and its reference have too many words or lines for rougeL and rougeLsum`;
    throw new WgqaError('INVALID_ARGUMENT', message, { field, allowed });
  }
}

function fromMatches(matches: number, predicted: number, expected: number): RougeScore {
  if (matches === 0) return ZERO;
  const precision = matches / predicted;
  const recall = matches / expected;
  return { precision, recall, fmeasure: (2 * precision * recall) / (precision + recall) };
}

function meanOf(scores: readonly RougeScore[]): RougeScore {
  const mean = (key: keyof RougeScore): number =>
    scores.reduce((sum, value) => sum + value[key], 0) / scores.length;
  return { precision: mean('precision'), recall: mean('recall'), fmeasure: mean('fmeasure') };
}

function mapTypes<T extends RougeType>(
  types: readonly T[],
  compute: (type: T) => RougeScore,
): Record<T, RougeScore> {
  return Object.fromEntries(types.map((type) => [type, compute(type)])) as Record<T, RougeScore>;
}

/** Each type once. */
function checkTypes<T extends RougeType>(types: readonly T[]): T[] {
  const known = new Set<T>();
  // Not with forEach(), which passes over the holes of a sparse array.
  for (let index = 0; index < types.length; index += 1) {
    const type: unknown = types[index];
    if (typeof type !== 'string' || !/^rouge(?:[1-9]|L|Lsum)$/.test(type)) {
      const allowed = "'rouge1'..'rouge9' | 'rougeL' | 'rougeLsum'";
      throw invalidArgument(`types[${index}]`, allowed, type);
    }
    known.add(type as T);
  }
  return [...known];
}
