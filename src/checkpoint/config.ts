/**
 * `config.json` of a T5 (v1.0 and v1.1) or mT5 as Hugging Face writes it: every value that the model
 * depends on is checked here, before anything is allocated; other keys are kept as they are.
 */
import { WgqaError } from '../errors.ts';
import {
  arrayOf,
  booleanRule,
  either,
  integerIn,
  numberIn,
  oneOf,
  stringRule,
  type Checked,
  type Rules,
} from '../options.ts';
import { parseGrouping, type Grouping } from './grouping.ts';
import { shortJson } from './json-parser.ts';

const MODEL_TYPES = ['t5', 'mt5'] as const;
export type ModelType = (typeof MODEL_TYPES)[number];

export type DenseActivation =
  'relu' | 'gelu' | 'gelu_new' | 'gelu_pytorch_tanh' | 'gelu_fast' | 'silu' | 'swish';

/** The keys of `config.json`, with defaults filled in; unknown keys are carried along. */
export interface ModelConfig extends Grouping {
  /** mT5 is T5 v1.1 by another name. */
  readonly model_type: ModelType;
  readonly vocab_size: number;
  readonly d_model: number;
  /** Size of one attention head. */
  readonly d_kv: number;
  readonly d_ff: number;
  /** Encoder layers. */
  readonly num_layers: number;
  readonly num_decoder_layers: number;
  readonly num_heads: number;
  readonly relative_attention_num_buckets: number;
  readonly relative_attention_max_distance: number;
  readonly layer_norm_epsilon: number;
  readonly feed_forward_proj: string;
  readonly dense_act_fn: DenseActivation;
  readonly is_gated_act: boolean;
  readonly tie_word_embeddings: boolean;
  /** Multiply decoder outputs by d_model^-0.5 before the vocabulary projection. */
  readonly scale_decoder_outputs: boolean;
  readonly dropout_rate: number;
  readonly initializer_factor: number;
  readonly pad_token_id: number;
  readonly eos_token_id: number | readonly number[];
  readonly decoder_start_token_id: number;
  readonly [key: string]: unknown;
}

const ARCHITECTURES: Readonly<Record<ModelType, readonly [string, ...string[]]>> = {
  t5: ['T5ForConditionalGeneration', 'T5WithLMHeadModel'],
  mt5: ['MT5ForConditionalGeneration'],
};
/** What Hugging Face takes for a key that a file of the type leaves out, where types differ. */
const TYPE_DEFAULTS = {
  t5: { feed_forward_proj: 'relu', tie_word_embeddings: true },
  mt5: { feed_forward_proj: 'gated-gelu', tie_word_embeddings: false },
} as const;
/** Keys whose values Transformers 5 accepts as floating-point numbers only: 1.0, not 1. */
export const FLOAT_KEYS: ReadonlySet<string> = new Set([
  'layer_norm_epsilon',
  'dropout_rate',
  'initializer_factor',
  'classifier_dropout',
]);
const ACTIVATIONS = [
  'relu',
  'gelu',
  'gelu_new',
  'gelu_pytorch_tanh',
  'gelu_fast',
  'silu',
  'swish',
] as const;

// Well above any published T5, and low enough that every product of them is an exact number.
const layers = integerIn(1, 1024);
const width = integerIn(1, 1 << 18);
const tokenId = integerIn(0, (1 << 24) - 1);

const REQUIRED = {
  vocab_size: integerIn(1, 1 << 24),
  d_model: width,
  d_kv: integerIn(1, 1 << 12),
  d_ff: integerIn(1, 1 << 20),
  num_layers: layers,
  num_heads: integerIn(1, 1 << 12),
} satisfies Rules;

const OPTIONAL = {
  num_decoder_layers: layers,
  relative_attention_num_buckets: integerIn(4, 1 << 12),
  relative_attention_max_distance: integerIn(1, 1 << 24),
  layer_norm_epsilon: numberIn({ min: 0, max: 1 }),
  feed_forward_proj: stringRule,
  dense_act_fn: stringRule,
  is_gated_act: booleanRule,
  tie_word_embeddings: booleanRule,
  scale_decoder_outputs: booleanRule,
  dropout_rate: numberIn({ min: 0, max: 0.999 }),
  initializer_factor: numberIn({ min: 0, max: 1e6 }),
  pad_token_id: tokenId,
  eos_token_id: either(tokenId, arrayOf(tokenId, 1)),
  decoder_start_token_id: tokenId,
} satisfies Rules;

const KNOWN = { ...REQUIRED, ...OPTIONAL };
type Known = Required<Checked<typeof REQUIRED>> & Checked<typeof OPTIONAL>;

/** Makes the error for a bad value; files and arguments differ in code and field. */
export type Reject = (key: string, allowed: string, actual: unknown) => WgqaError;

/**
 * Checks a configuration and fills in Hugging Face's defaults.
 * @throws WgqaError UNSUPPORTED for another architecture; otherwise what `reject` makes
 */
export function parseConfig(raw: Readonly<Record<string, unknown>>, reject: Reject): ModelConfig {
  const type = modelTypeOf(raw);
  checkArchitecture(raw, type);
  checkQuantization(raw);
  const given = checkKeys(raw, reject);
  const activation = parseActivation(given, TYPE_DEFAULTS[type].feed_forward_proj, reject);
  const padTokenId = given.pad_token_id ?? 0;
  const tied = given.tie_word_embeddings ?? TYPE_DEFAULTS[type].tie_word_embeddings;
  const complete = {
    ...given,
    model_type: type,
    num_decoder_layers: given.num_decoder_layers ?? given.num_layers,
    relative_attention_num_buckets: given.relative_attention_num_buckets ?? 32,
    relative_attention_max_distance: given.relative_attention_max_distance ?? 128,
    layer_norm_epsilon: given.layer_norm_epsilon ?? 1e-6,
    ...activation,
    tie_word_embeddings: tied,
    // mT5 has no such scaling, tied or not.
    scale_decoder_outputs: given.scale_decoder_outputs ?? (type === 't5' && tied),
    dropout_rate: given.dropout_rate ?? 0.1,
    initializer_factor: given.initializer_factor ?? 1,
    pad_token_id: padTokenId,
    eos_token_id: given.eos_token_id ?? 1,
    decoder_start_token_id: given.decoder_start_token_id ?? padTokenId,
  };
  checkConsistency(complete, reject);
  return Object.freeze({ ...raw, ...complete, ...parseGrouping(raw, complete, reject) });
}

/** `eos_token_id` is one id or several. */
export function eosTokenIds(config: Pick<ModelConfig, 'eos_token_id'>): number[] {
  const { eos_token_id: id } = config;
  return typeof id === 'number' ? [id] : [...id];
}

/** The error for a bad key of a file. */
export function rejectInFile(file: string): Reject {
  return (key, allowed, actual) => {
    const message = `${key} of ${file} must be ${allowed}, not ${shortJson(actual)}`;
    return new WgqaError('INVALID_FILE', message, { field: key, allowed });
  };
}

/** The name of the class that a model of the configuration is in Transformers. */
export function architectureOf({ model_type: type }: Pick<ModelConfig, 'model_type'>): string {
  return ARCHITECTURES[type][0];
}

function modelTypeOf(raw: Readonly<Record<string, unknown>>): ModelType {
  const allowed = oneOf(...MODEL_TYPES);
  const type = raw['model_type'] ?? undefined;
  if (allowed.accepts(type)) return type;
  if (type !== undefined) throw unsupported('model_type', type, allowed.allowed);
  const message = `config.json has no model_type; for a T5, add "model_type": "t5"`;
  throw new WgqaError('UNSUPPORTED', message, { field: 'model_type', allowed: allowed.allowed });
}

function checkArchitecture(raw: Readonly<Record<string, unknown>>, type: ModelType): void {
  const { architectures } = raw;
  if (architectures === undefined || architectures === null) return;
  const known =
    Array.isArray(architectures) &&
    architectures.some((a) => ARCHITECTURES[type].includes(a as string));
  if (!known) throw unsupported('architectures', architectures, ARCHITECTURES[type].join(' | '));
}

/** Weights of a quantised checkpoint are codes, whatever type they claim. */
function checkQuantization(raw: Readonly<Record<string, unknown>>): void {
  const quantization = raw['quantization_config'] ?? undefined;
  if (quantization === undefined) return;
  throw new WgqaError(
    'UNSUPPORTED',
    `the checkpoint is quantised (quantization_config of config.json: ${shortJson(quantization)}): ` +
      'give the one it was made from; dtype int8 quantises while loading',
    { field: 'quantization_config', allowed: 'absent' },
  );
}

function checkKeys(raw: Readonly<Record<string, unknown>>, reject: Reject): Known {
  const given: Record<string, unknown> = {};
  for (const [key, rule] of Object.entries(KNOWN)) {
    const value = raw[key] ?? undefined; // Hugging Face writes null for "not set"
    if (value === undefined) {
      if (Object.hasOwn(REQUIRED, key)) throw reject(key, rule.allowed, raw[key]);
    } else {
      if (!rule.accepts(value)) throw reject(key, rule.allowed, value);
      given[key] = value;
    }
  }
  return given as Known;
}

/** "gated-gelu" and its like; `dense_act_fn` and `is_gated_act` overrule it, as in Hugging Face. */
function parseActivation(given: Known, fallback: string, reject: Reject) {
  const projection = given.feed_forward_proj ?? fallback;
  const parts = projection.split('-');
  if (parts.length > 2 || (parts.length === 2 && parts[0] !== 'gated')) {
    throw reject('feed_forward_proj', "an activation or 'gated-' and an activation", projection);
  }
  // "gated-gelu" has always meant the tanh approximation.
  const named = projection === 'gated-gelu' ? 'gelu_new' : parts[parts.length - 1];
  const dense = given.dense_act_fn ?? named;
  const allowed = oneOf(...ACTIVATIONS);
  if (!allowed.accepts(dense)) {
    const key = given.dense_act_fn === undefined ? 'feed_forward_proj' : 'dense_act_fn';
    throw unsupported(key, dense, allowed.allowed);
  }
  return {
    feed_forward_proj: projection,
    dense_act_fn: dense,
    is_gated_act: given.is_gated_act ?? parts.length === 2,
  };
}

function checkConsistency(config: ModelConfig, reject: Reject): void {
  const buckets = config.relative_attention_num_buckets;
  if (buckets % 4 !== 0) {
    throw reject('relative_attention_num_buckets', 'a multiple of 4', buckets);
  }
  // Beyond half the buckets the scale is logarithmic up to this distance.
  if (config.relative_attention_max_distance <= buckets / 2) {
    throw reject(
      'relative_attention_max_distance',
      `more than half of relative_attention_num_buckets (${buckets / 2})`,
      config.relative_attention_max_distance,
    );
  }
  const ids = { pad_token_id: [config.pad_token_id], eos_token_id: eosTokenIds(config) };
  const start = [config.decoder_start_token_id];
  for (const [key, values] of Object.entries({ ...ids, decoder_start_token_id: start })) {
    const bad = values.find((id) => id >= config.vocab_size);
    if (bad !== undefined) throw reject(key, `less than vocab_size (${config.vocab_size})`, bad);
  }
}

function unsupported(field: string, actual: unknown, allowed: string): WgqaError {
  const message = `${field} ${shortJson(actual)} is not supported; allowed: ${allowed}`;
  return new WgqaError('UNSUPPORTED', message, { field, allowed });
}
