/** What a checkpoint wants to be generated with: its `generation_config.json`. */
import { WgqaError } from '../errors.ts';
import type { Rules } from '../options.ts';
import {
  SAMPLING_RULES,
  SHARED_RULES,
  sizeRule,
  stopRule,
  type CheckedRequest,
  type SharedOptions,
} from './request-options.ts';

type Json = Readonly<Record<string, unknown>>;

/** Hugging Face's default length, which it takes to mean as many new tokens. */
const USUAL_LENGTH = 20;

/** Keys that change what transformers generates and are not applied, with what switches each off. */
const NOT_APPLIED: Readonly<Record<string, readonly unknown[]>> = {
  constraints: [],
  diversity_penalty: [0],
  dola_layers: [],
  force_words_ids: [],
  forced_decoder_ids: [],
  guidance_scale: [1],
  num_beam_groups: [1],
  penalty_alpha: [0],
  token_healing: [false],
  top_h: [1],
  watermarking_config: [],
};

/** Keys that change the speed, the memory or the form of results, not the tokens. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set([
  '_commit_hash',
  '_from_model_config',
  'assistant_confidence_threshold',
  'assistant_early_exit',
  'assistant_lookbehind',
  'bos_token_id',
  'cache_config',
  'cache_implementation',
  'compile_config',
  'continuous_batching_config',
  'disable_compile',
  'generation_kwargs',
  'is_assistant',
  'low_memory',
  'max_matching_ngram_size',
  'num_assistant_tokens',
  'num_assistant_tokens_schedule',
  'output_attentions',
  'output_hidden_states',
  'output_logits',
  'output_scores',
  'prefill_chunk_size',
  'prompt_lookup_num_tokens',
  'return_dict_in_generate',
  'return_legacy_cache',
  'speculative_config',
  'target_lookbehind',
  'transformers_version',
  'use_cache',
]);

const FILE_RULES: Rules = {
  ...SHARED_RULES,
  decoderStartTokenId: sizeRule,
  padTokenId: sizeRule,
  maxLength: sizeRule,
  minLength: sizeRule,
  stopStrings: stopRule,
};

/** Options by Hugging Face's spelling of their names. */
const NAMES_BY_KEY: ReadonlyMap<string, string> = new Map(
  Object.keys(FILE_RULES).map((name) => [
    name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`),
    name,
  ]),
);

interface FileOptions extends SharedOptions {
  decoderStartTokenId?: number;
  padTokenId?: number;
  maxLength?: number;
  minLength?: number;
  stopStrings?: string | string[];
}

export class GenerationDefaults {
  readonly options: SharedOptions;
  readonly decoderStartTokenId: number | undefined;
  readonly padTokenId: number | undefined;
  readonly stop: string | string[] | undefined;
  readonly #file: string;
  readonly #maxLength: number | undefined;
  readonly #minLength: number | undefined;
  /** Sampling options of the file that nothing can be sampled with, by name. */
  readonly #unusable: ReadonlyMap<string, unknown>;
  readonly #warned = new Set<string>();

  /** `unusable`: sampling options of the file that no sampling can have. */
  constructor(given: FileOptions, unusable: ReadonlyMap<string, unknown>, file: string) {
    const { decoderStartTokenId, padTokenId, maxLength, minLength, stopStrings, ...options } =
      given;
    this.options = options;
    this.decoderStartTokenId = decoderStartTokenId;
    this.padTokenId = padTokenId;
    this.stop = stopStrings;
    this.#maxLength = maxLength;
    this.#minLength = minLength;
    this.#unusable = unusable;
    this.#file = file;
  }

  /**
   * Numbers of new tokens. Lengths of the file count the decoder's prompt, but 20, which is
   * Hugging Face's default, means new tokens.
   */
  lengthsAfter(promptTokens: number): {
    readonly maxNewTokens: number | undefined;
    readonly minNewTokens: number | undefined;
  } {
    const { maxNewTokens, minNewTokens } = this.options;
    const least = this.#minLength === undefined ? undefined : this.#minLength - promptTokens;
    return {
      maxNewTokens: maxNewTokens ?? this.#newTokensAfter(promptTokens),
      minNewTokens: minNewTokens ?? (least === undefined ? undefined : Math.max(least, 0)),
    };
  }

  /** Tells once that `key` is not applied, and why. */
  warn(key: string, reason: string): void {
    if (this.#warned.has(key)) return;
    this.#warned.add(key);
    process.emitWarning(`${key} of ${this.#file} ${reason}`, 'WgqaWarning');
  }

  /** Tells of the file's sampling options that a request would need and cannot have. */
  warnOfSampling(request: CheckedRequest): void {
    for (const [name, value] of this.#unusable) {
      if (name in request) continue;
      const rule = (SAMPLING_RULES as Rules)[name];
      const reason = `is not ${rule?.allowed ?? ''}, but ${JSON.stringify(value)}: not applied`;
      this.warn(keyOf(name), reason);
    }
  }

  #newTokensAfter(promptTokens: number): number | undefined {
    const length = this.#maxLength;
    if (length === undefined || length === USUAL_LENGTH) return length;
    if (length > promptTokens) return length - promptTokens;
    const reason = `is ${length}, no more than the decoder begins with (${promptTokens})`;
    this.warn('max_length', `${reason}: not applied`);
    return undefined;
  }
}

/**
 * Generation defaults of a `generation_config.json`, or of a configuration that holds its keys. Keys
 * that are not applied are named in one warning of the process.
 * @throws WgqaError INVALID_FILE naming the key whose value is malformed
 */
export function parseGenerationDefaults(json: Json, file: string): GenerationDefaults {
  const options: Record<string, unknown> = {};
  const unusable = new Map<string, unknown>();
  for (const [key, name] of NAMES_BY_KEY) {
    const value = json[key];
    const rule = FILE_RULES[name];
    if (value === undefined || value === null || rule === undefined || isEmpty(value)) continue;
    if (rule.accepts(value)) {
      options[name] = value;
    } else if (name in SAMPLING_RULES && Number.isFinite(value)) {
      unusable.set(name, value);
    } else {
      const message = `${key} of ${file} must be ${rule.allowed}, not ${describe(value)}`;
      throw new WgqaError('INVALID_FILE', message, { field: key, allowed: rule.allowed });
    }
  }
  return new GenerationDefaults(options, unusable, file);
}

/** Names the keys of `json` that change what transformers generates and are not applied. */
export function warnOfKeys(json: Json, file: string): void {
  const known = keysNotApplied(json);
  const unknown = Object.keys(json).filter((key) => isUnknown(key, json[key]));
  if (known.length + unknown.length > 0) emitNotApplied([...known, ...unknown], file);
}

/** As warnOfKeys, of a file that holds other things, too. */
export function warnOfKnownKeys(json: Json, file: string): void {
  const known = keysNotApplied(json);
  if (known.length > 0) emitNotApplied(known, file);
}

function emitNotApplied(keys: readonly string[], file: string): void {
  const shown = keys.map((key) => JSON.stringify(key.slice(0, 80))).slice(0, 20);
  const message = `${file} has keys that wgqa does not apply: ${shown.join(', ')}`;
  process.emitWarning(message, 'WgqaWarning');
}

function keysNotApplied(json: Json): string[] {
  return Object.keys(NOT_APPLIED).filter((key) => {
    const value = json[key];
    const isOff = value === undefined || value === null || isEmpty(value);
    return !isOff && NOT_APPLIED[key]?.includes(value) !== true;
  });
}

function isUnknown(key: string, value: unknown): boolean {
  if (value === null || isEmpty(value)) return false;
  return !(NAMES_BY_KEY.has(key) || WITHOUT_EFFECT.has(key) || key in NOT_APPLIED);
}

function isEmpty(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}

function keyOf(name: string): string {
  return [...NAMES_BY_KEY].find(([, other]) => other === name)?.[0] ?? name;
}

function describe(value: unknown): string {
  return JSON.stringify(value).slice(0, 80);
}
