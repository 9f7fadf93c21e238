/** Options of engines and of generation requests, with the defaults of the checkpoint. */
import { eosTokenIds, type ModelConfig } from '../checkpoint/config.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import type {
  ComputeDtype,
  Device,
  NativeEngineOptions,
  NativeGenerationOptions,
} from '../native.ts';
import {
  anything,
  arrayOf,
  booleanRule,
  checkOptions,
  either,
  functionRule,
  integerIn,
  numberIn,
  objectRule,
  oneOf,
  stringRule,
  textRule,
  type Checked,
  type Rule,
  type Rules,
} from '../options.ts';
import { Tokenizer } from '../tokenizer/index.ts';
import type { EngineOptions, LogitsProcessor } from './types.ts';

const MAX_TOKENS = 0x7fff_ffff - 1;
const count = integerIn(1, MAX_TOKENS);
const size = integerIn(0, MAX_TOKENS);
/** Logits are scaled in float32: what these make of them stays a finite number. */
const factor = numberIn({ min: 1e-30, max: 1e30 });
/** Beam search looks at as many candidates per beam. */
const MAX_END_TOKENS = 256;
/** Some 24 days, as for Node's own timers. */
const timeoutRule = numberIn({ min: Number.MIN_VALUE, max: 2 ** 31 - 1 });

/** Hugging Face's generation options that a request and `generation_config.json` share. */
const SHARED_RULES = {
  maxNewTokens: count,
  minNewTokens: size,
  numBeams: count,
  numReturnSequences: count,
  lengthPenalty: numberIn(),
  earlyStopping: oneOf<boolean | 'never'>(true, false, 'never'),
  noRepeatNgramSize: size,
  repetitionPenalty: factor,
  doSample: booleanRule,
  temperature: factor,
  topK: size,
  topP: numberIn({ min: Number.MIN_VALUE, max: 1 }),
  minP: numberIn({ min: 0, max: 1 }),
  eosTokenId: either(size, arrayOf(size, 1)),
} satisfies Rules;

const REQUEST_RULES = {
  ...SHARED_RULES,
  prompt: textRule,
  inputIds: anything<unknown>(),
  seed: integerIn(),
  stop: either(stringRule, arrayOf(stringRule, 1)),
  logProbs: booleanRule,
  decoderInputIds: anything<unknown>(),
  forcedPrefix: stringRule,
  timeout: timeoutRule,
  logitsProcessors: arrayOf(functionRule<LogitsProcessor>()),
} satisfies Rules;

export type CheckedRequest = Checked<typeof REQUEST_RULES>;
export type GenerationDefaults = Checked<typeof SHARED_RULES> & {
  readonly decoderStartTokenId?: number;
  readonly padTokenId?: number;
};

/** @throws WgqaError INVALID_ARGUMENT */
export function checkRequest(request: unknown): CheckedRequest {
  return checkOptions(request ?? {}, REQUEST_RULES);
}

/** Fills in what the request leaves open: from the checkpoint, then Hugging Face's defaults. */
export function resolveRequest(
  request: CheckedRequest,
  defaults: GenerationDefaults,
  config: ModelConfig,
): NativeGenerationOptions {
  const all = { ...defaults, ...request };
  const ends = checkedEnds([all.eosTokenId ?? eosTokenIds(config)].flat(), config);
  return {
    maxNewTokens: all.maxNewTokens ?? 20,
    minNewTokens: all.minNewTokens ?? 0,
    numBeams: all.numBeams ?? 1,
    numReturnSequences: all.numReturnSequences ?? 1,
    lengthPenalty: all.lengthPenalty ?? 1,
    earlyStopping: all.earlyStopping ?? false,
    noRepeatNgramSize: all.noRepeatNgramSize ?? 0,
    repetitionPenalty: all.repetitionPenalty ?? 1,
    doSample: all.doSample ?? false,
    temperature: all.temperature ?? 1,
    topK: all.topK ?? 50,
    topP: all.topP ?? 1,
    minP: all.minP ?? 0,
    seed: all.seed ?? 0,
    eosTokenIds: ends,
    decoderStartTokenId: all.decoderStartTokenId ?? config.decoder_start_token_id,
    padTokenId: all.padTokenId ?? config.pad_token_id,
    logProbs: all.logProbs ?? false,
  };
}

function checkedEnds(ends: readonly number[], config: ModelConfig): number[] {
  if (ends.length > MAX_END_TOKENS) {
    throw invalidArgument('eosTokenId', `at most ${MAX_END_TOKENS} token ids`, ends);
  }
  const bad = ends.find((id) => id >= config.vocab_size);
  if (bad !== undefined) {
    throw invalidArgument('eosTokenId', `token ids from 0 to ${config.vocab_size - 1}`, bad);
  }
  return [...ends];
}

const FILE_RULES: Rules = { ...SHARED_RULES, decoderStartTokenId: size, padTokenId: size };

/**
 * Generation defaults of a `generation_config.json`, or of a configuration that holds its keys.
 * @throws WgqaError INVALID_FILE naming the key
 */
export function parseGenerationDefaults(
  json: Readonly<Record<string, unknown>>,
  file: string,
): GenerationDefaults {
  const defaults: Record<string, unknown> = {};
  const set = (name: string, key: string, value: unknown): void => {
    const rule = FILE_RULES[name];
    if (value === undefined || value === null || rule === undefined) return;
    if (!rule.accepts(value)) {
      const message = `${key} of ${file} must be ${rule.allowed}, not ${JSON.stringify(value)}`;
      throw new WgqaError('INVALID_FILE', message, { field: key, allowed: rule.allowed });
    }
    defaults[name] = value;
  };
  set('maxNewTokens', 'max_length', withoutStart(json['max_length']));
  set('minNewTokens', 'min_length', withoutStart(json['min_length']));
  for (const name of Object.keys(FILE_RULES)) {
    const key = name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
    set(name, key, json[key]);
  }
  return defaults;
}

/**
 * Lengths count the start token, numbers of new tokens do not. 20 is Hugging Face's default length,
 * which it takes to mean 20 new tokens; a least length of 0 or 1 asks for nothing.
 */
function withoutStart(length: unknown): unknown {
  if (typeof length !== 'number' || length === 20) return length;
  return length > 0 ? length - 1 : length;
}

export const tokenizerRule: Rule<Tokenizer> = {
  allowed: 'a Tokenizer of loadTokenizer',
  accepts: (value): value is Tokenizer => value instanceof Tokenizer,
};

const ENGINE_RULES = {
  kvCache: objectRule,
  maxBatchSize: integerIn(1, 65_536),
  maxBatchTokens: integerIn(1, 2 ** 20),
  threads: integerIn(1, 1024),
  streamBuffer: integerIn(1),
  limits: objectRule,
  tokenizer: tokenizerRule,
} satisfies Rules;

const CACHE_RULES = {
  blockSize: integerIn(1, 4096),
  maxBytes: integerIn(1),
  dtype: oneOf('float32', 'float16', 'bfloat16', 'int8'),
} satisfies Rules;

const LIMIT_RULES = {
  requests: integerIn(1),
  inputTokens: count,
  newTokens: count,
  timeout: timeoutRule,
} satisfies Rules;

const CLOSE_RULES = { mode: oneOf('drain', 'abort') } satisfies Rules;

/** A GPU reads larger blocks at full speed, and is filled by more tokens at once. */
const DEFAULTS: Readonly<
  Record<Device, { blockSize: number; maxBytes: number; maxBatchTokens: number }>
> = {
  cpu: { blockSize: 16, maxBytes: 256 * 2 ** 20, maxBatchTokens: 64 },
  cuda: { blockSize: 64, maxBytes: 4 * 2 ** 30, maxBatchTokens: 4096 },
};
const DEFAULT_REQUESTS = 16_384;

/** Limits with every field set: Infinity where there is none. */
export interface Limits {
  readonly requests: number;
  readonly inputTokens: number;
  readonly newTokens: number;
  readonly timeout: number;
}

export interface ResolvedEngineOptions {
  readonly native: NativeEngineOptions;
  readonly limits: Limits;
  readonly streamBuffer: number;
  readonly tokenizer: Tokenizer | undefined;
}

/** @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED for a type of cache that the device has not */
export function resolveEngineOptions(
  options: EngineOptions,
  { dtype, device }: { readonly dtype: ComputeDtype; readonly device: Device },
): ResolvedEngineOptions {
  const given = checkOptions(options, ENGINE_RULES);
  const cache = checkOptions(given.kvCache, CACHE_RULES, 'kvCache');
  if (device === 'cpu' && cache.dtype === 'float16') {
    throw new WgqaError('UNSUPPORTED', 'a cache in float16 needs a GPU', {
      field: 'kvCache.dtype',
      allowed: "'float32' | 'bfloat16' | 'int8'",
    });
  }
  const limits = checkOptions(given.limits, LIMIT_RULES, 'limits');
  const defaults = DEFAULTS[device];
  return {
    native: {
      blockTokens: cache.blockSize ?? defaults.blockSize,
      maxCacheBytes: cache.maxBytes ?? defaults.maxBytes,
      cacheDtype: cache.dtype ?? (dtype === 'int8' ? 'bfloat16' : dtype),
      maxBatchSize: given.maxBatchSize ?? 64,
      maxBatchTokens: given.maxBatchTokens ?? defaults.maxBatchTokens,
      threads: given.threads ?? 0,
    },
    limits: {
      requests: limits.requests ?? DEFAULT_REQUESTS,
      inputTokens: limits.inputTokens ?? Infinity,
      newTokens: limits.newTokens ?? Infinity,
      timeout: limits.timeout ?? Infinity,
    },
    streamBuffer: given.streamBuffer ?? 64,
    tokenizer: given.tokenizer,
  };
}

/** @throws WgqaError INVALID_ARGUMENT */
export function closeMode(options: unknown): 'drain' | 'abort' {
  return checkOptions(options, CLOSE_RULES).mode ?? 'drain';
}
