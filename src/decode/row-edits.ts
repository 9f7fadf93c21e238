/** Options that few requests have: rules for them, and what native code makes of them. */
import { invalidArgument } from '../errors.ts';
import type { NativeRagged, NativeRowEdits } from '../native.ts';
import { integerIn, type Rule } from '../options.ts';

/** Each step looks at all of them. */
const MAX_IDS = 16_384;
const idRule = integerIn(0, 0x7fff_fffe);
const LARGEST_BIAS = 3e38;

function isIds(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.length > 0 && value.every((id) => idRule.accepts(id));
}

function countIds(sequences: readonly (readonly number[])[]): number {
  return sequences.reduce((sum, { length }) => sum + length, 0);
}

export const tokenListRule: Rule<readonly number[]> = {
  allowed: 'an array of token ids',
  accepts: (value): value is readonly number[] =>
    Array.isArray(value) && (value.length === 0 || isIds(value)),
};

export const wordsRule: Rule<readonly (readonly number[])[]> = {
  allowed: `arrays of token ids, at most ${MAX_IDS} ids in all`,
  accepts: (value): value is readonly (readonly number[])[] =>
    Array.isArray(value) && value.every(isIds) && countIds(value) <= MAX_IDS,
};

type Bias = readonly [tokenIds: readonly number[], bias: number];

function isBias(value: unknown): value is Bias {
  if (!Array.isArray(value) || value.length !== 2 || !isIds(value[0])) return false;
  return typeof value[1] === 'number' && Math.abs(value[1]) <= LARGEST_BIAS;
}

export const biasRule: Rule<readonly Bias[]> = {
  allowed: `pairs [token ids, bias], at most ${MAX_IDS} ids in all`,
  accepts: (value): value is readonly Bias[] =>
    Array.isArray(value) &&
    value.every(isBias) &&
    countIds(value.map(([tokenIds]) => tokenIds)) <= MAX_IDS,
};

/** The options of this file, none required. */
export interface RowEditOptions {
  readonly sequenceBias?: readonly Bias[];
  readonly encoderRepetitionPenalty?: number;
  readonly encoderNoRepeatNgramSize?: number;
  readonly badWordsIds?: readonly (readonly number[])[];
  readonly forcedBosTokenId?: number;
  readonly forcedEosTokenId?: number | readonly number[];
  readonly removeInvalidValues?: boolean;
  readonly exponentialDecayLengthPenalty?: readonly [number, number];
  readonly suppressTokens?: readonly number[];
  readonly beginSuppressTokens?: readonly number[];
  readonly typicalP?: number;
  readonly epsilonCutoff?: number;
  readonly etaCutoff?: number;
  readonly renormalizeLogits?: boolean;
}

const FIELDS: readonly (keyof RowEditOptions)[] = [
  'sequenceBias',
  'encoderRepetitionPenalty',
  'encoderNoRepeatNgramSize',
  'badWordsIds',
  'forcedBosTokenId',
  'forcedEosTokenId',
  'removeInvalidValues',
  'exponentialDecayLengthPenalty',
  'suppressTokens',
  'beginSuppressTokens',
  'typicalP',
  'epsilonCutoff',
  'etaCutoff',
  'renormalizeLogits',
];

/**
 * Nothing where no option of this file is given: most requests have none, and pay for none.
 * @throws WgqaError INVALID_ARGUMENT naming the option that has an id beyond the vocabulary
 */
export function resolveRowEdits(
  options: RowEditOptions,
  vocab: number,
): NativeRowEdits | undefined {
  const isGiven = FIELDS.some((field) => options[field] !== undefined);
  return isGiven ? editsOf(options, vocab) : undefined;
}

function editsOf(options: RowEditOptions, vocab: number): NativeRowEdits {
  const ids = (field: string, list: readonly number[]): Int32Array => {
    const bad = list.find((id) => id >= vocab);
    if (bad !== undefined) throw invalidArgument(field, `token ids from 0 to ${vocab - 1}`, bad);
    return Int32Array.from(list);
  };
  /** Each once: no step goes through more than the vocabulary. */
  const idSet = (field: string, list: readonly number[] = []): Int32Array =>
    ids(field, [...new Set(list)]);
  const sequences = (field: string, list: readonly (readonly number[])[]): NativeRagged => {
    const offsets = new Int32Array(list.length + 1);
    for (const [i, { length }] of list.entries()) offsets[i + 1] = offsets[i]! + length;
    return { ids: ids(field, list.flat()), offsets };
  };
  // Of one sequence with two biases the later counts, as in a dictionary.
  const biases = new Map((options.sequenceBias ?? []).map((pair) => [String(pair[0]), pair]));
  const decay = options.exponentialDecayLengthPenalty;
  const { forcedBosTokenId } = options;
  if (forcedBosTokenId !== undefined) ids('forcedBosTokenId', [forcedBosTokenId]);
  return {
    biased: sequences(
      'sequenceBias',
      [...biases.values()].map(([tokenIds]) => tokenIds),
    ),
    biases: Float32Array.from([...biases.values()].map(([, bias]) => bias)),
    encoderRepetitionPenalty: options.encoderRepetitionPenalty ?? 1,
    encoderNoRepeatNgramSize: options.encoderNoRepeatNgramSize ?? 0,
    badWords: sequences('badWordsIds', options.badWordsIds ?? []),
    forcedBosTokenId,
    forcedEosTokenIds: idSet('forcedEosTokenId', [options.forcedEosTokenId ?? []].flat()),
    removeInvalidValues: options.removeInvalidValues ?? false,
    exponentialDecay: decay && { start: decay[0], factor: decay[1] },
    suppressTokens: idSet('suppressTokens', options.suppressTokens),
    beginSuppressTokens: idSet('beginSuppressTokens', options.beginSuppressTokens),
    typicalP: options.typicalP ?? 1,
    epsilonCutoff: offOutside(options.epsilonCutoff),
    etaCutoff: offOutside(options.etaCutoff),
    renormalizeLogits: options.renormalizeLogits ?? false,
  };
}

/** transformers takes cut-offs between 0 and 1 alone. */
function offOutside(cutoff = 0): number {
  return cutoff > 0 && cutoff < 1 ? cutoff : 0;
}
