/** Options of a conversion: explicit ones, or a preset by its name in the paper. */
import {
  DEFAULT_MODULES,
  GRANULARITIES,
  kvHeadsRule,
  modulesRule,
  type ConversionConfig,
} from '../checkpoint/grouping.ts';
import type { ModelConfig } from '../checkpoint/config.ts';
import { invalidArgument } from '../errors.ts';
import type { AttentionModule, MergeGranularity, NativeConvertOptions } from '../native.ts';
import { checkOptions, integerIn, oneOf, type Rules } from '../options.ts';
import { PRESETS, type Preset, type PresetName } from './presets.ts';

export interface ConvertOptions {
  /** A row of the paper's Table 1; other options override its values. */
  readonly preset?: PresetName;
  /** K/V heads to keep, a divisor of the heads. Required without a preset. */
  readonly kvHeads?: number;
  /** 'mean' pools the heads once; 'weighted' learns how to. Required without a preset. */
  readonly merge?: 'mean' | 'weighted';
  /** What each merge weight multiplies: a 'head' (default), its 'row's or its 'column's. */
  readonly granularity?: MergeGranularity;
  /** 'mean' (default) starts as mean pooling, 'random' with standard normal weights. */
  readonly init?: 'mean' | 'random';
  /** Seed of random merge weights. Default 0. */
  readonly seed?: number;
  /** Default: decoder self- and cross-attention. */
  readonly modules?: readonly AttentionModule[];
}

/**
 * Checks the options against the model's configuration and fills in defaults.
 * @throws WgqaError INVALID_ARGUMENT
 */
export function resolveConvertOptions(
  options: ConvertOptions,
  config: ModelConfig,
): NativeConvertOptions {
  const heads = config.num_heads;
  const rules = {
    preset: oneOf(...(Object.keys(PRESETS) as PresetName[])),
    kvHeads: kvHeadsRule(heads),
    merge: oneOf('mean', 'weighted'),
    granularity: oneOf(...GRANULARITIES),
    init: oneOf('mean', 'random'),
    seed: integerIn(),
    modules: modulesRule,
  } satisfies Rules;
  const given = checkOptions(options, rules);
  const all = { ...(given.preset && presetOptions(PRESETS[given.preset], heads)), ...given };
  const { kvHeads, merge, granularity = 'head', init = 'mean', seed = 0 } = all;
  if (kvHeads === undefined) throw invalidArgument('kvHeads', rules.kvHeads.allowed, undefined);
  if (merge === undefined) throw invalidArgument('merge', rules.merge.allowed, undefined);
  const modules = [...new Set(all.modules ?? DEFAULT_MODULES)];
  return { kvHeads, merge, granularity, init, seed, modules };
}

/** A preset for `heads` heads; an odd number of them cannot be halved and leaves `kvHeads` open. */
function presetOptions(preset: Preset, heads: number) {
  const { kvHeads: part, ...rest } = preset;
  const kvHeads = { all: heads, half: heads / 2, one: 1 }[part];
  return Number.isInteger(kvHeads) ? { ...rest, kvHeads } : rest;
}

/** The configuration of the converted model. */
export function convertedConfig(config: ModelConfig, options: NativeConvertOptions): ModelConfig {
  // Pooling every head with itself alone changes nothing.
  if (options.merge === 'mean' && options.kvHeads === config.num_heads) return config;
  const weighted = options.merge === 'weighted';
  const wgqa: ConversionConfig = {
    kv_heads: options.kvHeads,
    merge: options.merge,
    granularity: weighted ? options.granularity : null,
    init: weighted ? options.init : null,
    modules: options.modules,
  };
  return Object.freeze({ ...config, num_key_value_heads: options.kvHeads, wgqa });
}

/** The configuration after folding. */
export function foldedConfig(config: ModelConfig): ModelConfig {
  const { wgqa, ...rest } = config;
  return Object.freeze({ ...rest, num_key_value_modules: wgqa?.modules ?? [] });
}
