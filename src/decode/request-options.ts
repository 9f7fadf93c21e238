/** Options of generation requests: what is allowed, and what is decoded with. */
import { randomInt } from 'node:crypto';
import { eosTokenIds, type ModelConfig } from '../checkpoint/config.ts';
import { invalidArgument } from '../errors.ts';
import type { NativeGenerationOptions } from '../native.ts';
import {
  anything,
  arrayOf,
  booleanRule,
  checkOptions,
  either,
  functionRule,
  integerIn,
  numberIn,
  oneOf,
  type Checked,
  type Rule,
  type Rules,
} from '../options.ts';
import type { GenerationDefaults } from './generation-defaults.ts';
import { biasRule, resolveRowEdits, tokenListRule, wordsRule } from './row-edits.ts';
import type { LogitsProcessor } from './types.ts';

export const MAX_TOKENS = 0x7fff_ffff - 1;
export const countRule = integerIn(1, MAX_TOKENS);
export const sizeRule = integerIn(0, MAX_TOKENS);
/** Logits are scaled in float32: what these make of them stays a finite number. */
const factor = numberIn({ min: 1e-30, max: 1e30 });
const MAX_END_TOKENS = 256;
/** Some 24 days, as for Node's own timers. */
export const timeoutRule = numberIn({ min: Number.MIN_VALUE, max: 2 ** 31 - 1 });
const MAX_STOP_STRINGS = 256;
const MAX_STOP_CHARACTERS = 1024;
const MAX_ALL_STOP_CHARACTERS = 16_384;
/** A seed is told as a number, which holds as many bits and more. */
const RANDOM_SEEDS = 2 ** 48 - 1;
const DEFAULT_NEW_TOKENS = 20;

const textRule: Rule<string> = {
  allowed: 'a string',
  accepts: (value): value is string => typeof value === 'string',
};

const stopStringRule: Rule<string> = {
  allowed: `a string of 1 to ${MAX_STOP_CHARACTERS} characters`,
  accepts: (value): value is string =>
    typeof value === 'string' && value.length > 0 && value.length <= MAX_STOP_CHARACTERS,
};

const stopStringsRule: Rule<string[]> = {
  allowed:
    `1 to ${MAX_STOP_STRINGS} of them with at most ${MAX_ALL_STOP_CHARACTERS} characters ` +
    `together`,
  accepts: (value): value is string[] =>
    Array.isArray(value) &&
    value.length > 0 &&
    value.length <= MAX_STOP_STRINGS &&
    value.every((item) => stopStringRule.accepts(item)) &&
    value.reduce((sum: number, { length }) => sum + length, 0) <= MAX_ALL_STOP_CHARACTERS,
};

/** Those that count only where tokens are sampled. */
export const SAMPLING_RULES = {
  temperature: factor,
  topK: sizeRule,
  topP: numberIn({ min: Number.MIN_VALUE, max: 1 }),
  minP: numberIn({ min: 0, max: 1 }),
  typicalP: numberIn({ min: Number.MIN_VALUE, max: 1 }),
  epsilonCutoff: numberIn({ min: 0, max: 1 }),
  etaCutoff: numberIn({ min: 0, max: 1 }),
} satisfies Rules;

/** Hugging Face's generation options that a request and `generation_config.json` share. */
export const SHARED_RULES = {
  ...SAMPLING_RULES,
  maxNewTokens: countRule,
  minNewTokens: sizeRule,
  numBeams: countRule,
  numReturnSequences: countRule,
  lengthPenalty: numberIn(),
  earlyStopping: oneOf<boolean | 'never'>(true, false, 'never'),
  noRepeatNgramSize: sizeRule,
  repetitionPenalty: factor,
  doSample: booleanRule,
  eosTokenId: either(sizeRule, arrayOf(sizeRule, 1)),
  forcedBosTokenId: sizeRule,
  forcedEosTokenId: either(sizeRule, arrayOf(sizeRule, 1)),
  suppressTokens: tokenListRule,
  beginSuppressTokens: tokenListRule,
  badWordsIds: wordsRule,
  sequenceBias: biasRule,
  encoderNoRepeatNgramSize: integerIn(0, 1e9),
  encoderRepetitionPenalty: factor,
  exponentialDecayLengthPenalty: {
    allowed: 'a number of tokens and a factor, [integer >= 0, number > 0]',
    accepts: (value): value is readonly [number, number] =>
      Array.isArray(value) &&
      value.length === 2 &&
      integerIn(0, 1e9).accepts(value[0]) &&
      factor.accepts(value[1]),
  } satisfies Rule<readonly [number, number]>,
  renormalizeLogits: booleanRule,
  removeInvalidValues: booleanRule,
  maxTime: numberIn({ min: Number.MIN_VALUE, max: 2 ** 31 }),
} satisfies Rules;

export const stopRule = either(stopStringRule, stopStringsRule);

const REQUEST_RULES = {
  ...SHARED_RULES,
  prompt: textRule,
  inputIds: anything<unknown>(),
  attentionMask: anything<unknown>(),
  seed: integerIn(),
  stop: stopRule,
  skipSpecialTokens: booleanRule,
  logProbs: booleanRule,
  topLogProbs: integerIn(0, 100),
  decoderInputIds: anything<unknown>(),
  forcedPrefix: textRule,
  timeout: timeoutRule,
  logitsProcessors: arrayOf(functionRule<LogitsProcessor>()),
} satisfies Rules;

export type CheckedRequest = Checked<typeof REQUEST_RULES>;
export type SharedOptions = Checked<typeof SHARED_RULES>;

/** What is known of a request beside its options. */
export interface RequestSurroundings {
  readonly config: ModelConfig;
  /** Tokens that the decoder is given: the start token and a forced prefix. */
  readonly promptTokens: number;
  /** The engine's limit of `maxNewTokens`. */
  readonly newTokens: number;
}

/** @throws WgqaError INVALID_ARGUMENT */
export function checkRequest(request: unknown): CheckedRequest {
  return checkOptions(request ?? {}, REQUEST_RULES);
}

/**
 * Fills in what the request leaves open: from the checkpoint, as far as that does not contradict
 * it, then Hugging Face's defaults.
 * @throws WgqaError INVALID_ARGUMENT
 */
export function resolveRequest(
  request: CheckedRequest,
  defaults: GenerationDefaults,
  surroundings: RequestSurroundings,
): NativeGenerationOptions {
  const { config } = surroundings;
  const all = { ...defaults.options, ...request };
  const doSample = all.doSample ?? false;
  const numBeams = all.numBeams ?? 1;
  if (doSample) defaults.warnOfSampling(request);
  return {
    ...resolveLengths(request, defaults, surroundings),
    numBeams,
    numReturnSequences: returnSequences(request, defaults, { numBeams, doSample }),
    lengthPenalty: all.lengthPenalty ?? 1,
    earlyStopping: all.earlyStopping ?? false,
    noRepeatNgramSize: all.noRepeatNgramSize ?? 0,
    repetitionPenalty: all.repetitionPenalty ?? 1,
    doSample,
    temperature: all.temperature ?? 1,
    topK: all.topK ?? 50,
    topP: all.topP ?? 1,
    minP: all.minP ?? 0,
    seed: all.seed ?? (doSample ? randomInt(RANDOM_SEEDS) : 0),
    eosTokenIds: resolveEnds(request, defaults, config),
    decoderStartTokenId: startTokenOf(defaults, config),
    padTokenId: defaults.padTokenId ?? config.pad_token_id,
    logProbs: all.logProbs ?? false,
    topLogProbs: Math.min(all.topLogProbs ?? 0, config.vocab_size),
    maxTimeMilliseconds: 1000 * (all.maxTime ?? 0),
    edits: resolveRowEdits(all, config.vocab_size),
  };
}

/** The token that the decoder begins with. */
export function startTokenOf(defaults: GenerationDefaults, config: ModelConfig): number {
  return defaults.decoderStartTokenId ?? config.decoder_start_token_id;
}

/** A request's own lengths outweigh those of the checkpoint. */
function resolveLengths(
  request: CheckedRequest,
  defaults: GenerationDefaults,
  { promptTokens, newTokens }: RequestSurroundings,
): { readonly maxNewTokens: number; readonly minNewTokens: number } {
  const known = defaults.lengthsAfter(promptTokens);
  let most = request.maxNewTokens ?? DEFAULT_NEW_TOKENS;
  if (request.maxNewTokens === undefined && known.maxNewTokens !== undefined) {
    most = Math.min(Math.max(known.maxNewTokens, request.minNewTokens ?? 0), newTokens);
  }
  const least = request.minNewTokens ?? Math.min(known.minNewTokens ?? 0, most);
  if (least > most) {
    throw invalidArgument('minNewTokens', `an integer from 0 to maxNewTokens (${most})`, least);
  }
  return { maxNewTokens: most, minNewTokens: least };
}

function returnSequences(
  request: CheckedRequest,
  { options }: GenerationDefaults,
  { numBeams, doSample }: { readonly numBeams: number; readonly doSample: boolean },
): number {
  const most = numBeams > 1 ? numBeams : doSample ? Infinity : 1;
  const wanted = request.numReturnSequences ?? Math.min(options.numReturnSequences ?? 1, most);
  if (wanted <= most) return wanted;
  const allowed = most === 1 ? '1 without doSample or numBeams > 1' : `at most numBeams (${most})`;
  throw invalidArgument('numReturnSequences', allowed, wanted);
}

/** End tokens of a checkpoint that the vocabulary lacks never come. */
function resolveEnds(
  request: CheckedRequest,
  defaults: GenerationDefaults,
  config: ModelConfig,
): Int32Array {
  const inVocabulary = (id: number): boolean => id < config.vocab_size;
  if (request.eosTokenId === undefined) {
    const ends = [defaults.options.eosTokenId ?? eosTokenIds(config)].flat();
    return Int32Array.from(ends.filter(inVocabulary).slice(0, MAX_END_TOKENS));
  }
  const ends = [request.eosTokenId].flat();
  if (ends.length > MAX_END_TOKENS) {
    throw invalidArgument('eosTokenId', `at most ${MAX_END_TOKENS} token ids`, ends);
  }
  const bad = ends.find((id) => !inVocabulary(id));
  if (bad !== undefined) {
    throw invalidArgument('eosTokenId', `token ids from 0 to ${config.vocab_size - 1}`, bad);
  }
  return Int32Array.from(ends);
}
