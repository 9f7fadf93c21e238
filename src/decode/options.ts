/** Options of engines. */
import { WgqaError } from '../errors.ts';
import type { ComputeDtype, Device, NativeEngineOptions } from '../native.ts';
import { checkOptions, integerIn, objectRule, oneOf, type Rule, type Rules } from '../options.ts';
import { Tokenizer } from '../tokenizer/index.ts';
import { countRule, timeoutRule } from './request-options.ts';
import type { EngineOptions } from './types.ts';

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
  inputTokens: countRule,
  newTokens: countRule,
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
const DEFAULT_BATCH_SIZE = 64;

/** Limits with every field set: Infinity where there is none. */
export interface Limits {
  readonly requests: number;
  /** Sequences that a request decodes at once. */
  readonly sequences: number;
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
  const maxBatchSize = given.maxBatchSize ?? DEFAULT_BATCH_SIZE;
  return {
    native: {
      blockTokens: cache.blockSize ?? defaults.blockSize,
      maxCacheBytes: cache.maxBytes ?? defaults.maxBytes,
      cacheDtype: cache.dtype ?? (dtype === 'int8' ? 'bfloat16' : dtype),
      maxBatchSize,
      maxBatchTokens: given.maxBatchTokens ?? defaults.maxBatchTokens,
      threads: given.threads ?? 0,
    },
    limits: {
      requests: limits.requests ?? DEFAULT_REQUESTS,
      sequences: maxBatchSize,
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
