/** Options of a conversion: explicit ones, or a preset by its name in the paper. */
import {
  CONSTRAINTS,
  convertedModulesRule,
  DEFAULT_MODULES,
  GRANULARITIES,
  kvHeadsByLayerRule,
  MERGE_INITS,
  modulesByLayer,
  modulesRule,
  type ConversionConfig,
  type KvHeads,
} from '../checkpoint/grouping.ts';
import type { ModelConfig } from '../checkpoint/config.ts';
import { invalidArgument } from '../errors.ts';
import type { TokenRows } from '../model/types.ts';
import type {
  AttentionModule,
  MergeConstraint,
  MergeGranularity,
  MergeInit,
  NativeConvertOptions,
} from '../native.ts';
import {
  anything,
  booleanRule,
  checkOptions,
  integerIn,
  oneOf,
  type Checked,
  type Rules,
} from '../options.ts';
import { PRESETS, type Preset, type PresetName } from './presets.ts';

/** Text that a conversion weighs heads by: a batch of source and target token ids. */
export interface CalibrationBatch {
  readonly inputIds: TokenRows;
  readonly attentionMask?: TokenRows;
  readonly labels: TokenRows;
}

/**
 * With `kvHeads` alone, heads are aligned and pooled, which of all conversions without calibration
 * or training loses least. Where `merge` or `preset` is given, everything unsaid has the paper's
 * value.
 */
export interface ConvertOptions {
  /** A row of the paper's Table 1; other options override its values. */
  readonly preset?: PresetName;
  /**
   * K/V heads to keep, a divisor of the heads; or one for each decoder layer, by module (then
   * `modules` are these). Required without a preset.
   */
  readonly kvHeads?: KvHeads;
  /**
   * 'mean' pools the heads once; 'weighted' learns how to. Default: the preset's; without one, 'mean'
   * of aligned heads.
   */
  readonly merge?: 'mean' | 'weighted';
  /** What each merge weight multiplies: a 'head' (default), its 'row's or its 'column's. */
  readonly granularity?: MergeGranularity;
  /**
   * 'mean' (default) starts as mean pooling, 'random' with standard normal weights, 'least-squares'
   * with the weights of heads whose merged K and V come closest to each head's own as queries and
   * output projection see them on the calibration text.
   */
  readonly init?: MergeInit;
  /** Seed of random merge weights. Default 0. */
  readonly seed?: number;
  /**
   * 'softmax': what is trained are the logarithms of weights that are positive and sum to one in a
   * group; 'signed': weights keep their signs, and their magnitudes sum to one. Default 'none'.
   */
  readonly constraint?: MergeConstraint;
  /**
   * Which heads share: 'neighbouring' ones (default), or those whose K and V are most alike, by
   * their weights or, with a calibration, by what they make of its text. In self-attention, whose
   * position bias all layers share, all layers get the same groups.
   */
  readonly grouping?: 'neighbouring' | 'similarity';
  /**
   * 'orthogonal' turns the heads of a group towards each other before they are merged, and Q and O
   * with them (as arXiv 2412.20677): alone it changes nothing. Default 'none', and 'orthogonal'
   * without `merge` and `preset`.
   */
  readonly alignment?: 'none' | 'orthogonal';
  /**
   * Weighted expansion: every query head scales the channels of the K and V that it reads by
   * learned weights, which start at one. Folding multiplies them into Q and O: they cost nothing
   * then. Default false.
   */
  readonly expansion?: boolean;
  /** Default: decoder self- and cross-attention. */
  readonly modules?: readonly AttentionModule[];
  /** Required for 'least-squares'. Some hundred pairs are enough. */
  readonly calibration?: Iterable<CalibrationBatch>;
}

/** Conversion options with every choice made. */
export interface ResolvedConversion extends Omit<
  NativeConvertOptions,
  'kvHeads' | 'kvHeadsByLayer'
> {
  readonly kvHeads: KvHeads;
}

function rulesOf(config: ModelConfig) {
  return {
    preset: oneOf(...(Object.keys(PRESETS) as PresetName[])),
    kvHeads: kvHeadsByLayerRule(config),
    merge: oneOf('mean', 'weighted'),
    granularity: oneOf(...GRANULARITIES),
    init: oneOf(...MERGE_INITS),
    constraint: oneOf(...CONSTRAINTS),
    seed: integerIn(),
    grouping: oneOf('neighbouring', 'similarity'),
    alignment: oneOf('none', 'orthogonal'),
    expansion: booleanRule,
    modules: modulesRule,
    calibration: anything<Iterable<CalibrationBatch>>(),
  } satisfies Rules;
}

/**
 * Checks the options against the model's configuration and fills in defaults.
 * @throws WgqaError INVALID_ARGUMENT
 */
export function resolveConvertOptions(
  options: ConvertOptions,
  config: ModelConfig,
): ResolvedConversion {
  const rules = rulesOf(config);
  const given = checkOptions(options, rules);
  const all = { ...defaultsOf(given, config), ...given };
  const { kvHeads, merge } = all;
  if (kvHeads === undefined) throw invalidArgument('kvHeads', rules.kvHeads.allowed, undefined);
  const resolved = {
    kvHeads: copyOf(kvHeads),
    merge,
    granularity: all.granularity ?? 'head',
    init: all.init ?? 'mean',
    constraint: all.constraint ?? 'none',
    seed: all.seed ?? 0,
    grouping: all.grouping ?? 'neighbouring',
    alignment: all.alignment ?? 'none',
    expansion: all.expansion ?? false,
    modules: modulesOf(kvHeads, given),
  } satisfies ResolvedConversion;
  checkTogether(resolved, given);
  return resolved;
}

/** The paper's choices where a merge or preset is asked for, else what is known to lose least. */
function defaultsOf(given: Given, config: ModelConfig) {
  const { preset, merge } = given;
  if (preset !== undefined) return presetOptions(PRESETS[preset], config);
  if (merge !== undefined) return { merge };
  const ofWeights = (['granularity', 'init', 'constraint', 'seed'] as const).find(
    (name) => given[name] !== undefined,
  );
  if (ofWeights === undefined) return BEST_KNOWN;
  throw invalidArgument('merge', `'weighted' with ${ofWeights}`, undefined);
}

const BEST_KNOWN = { merge: 'mean', alignment: 'orthogonal' } as const;

/** What callers change later is not the model's. */
function copyOf(kvHeads: KvHeads): KvHeads {
  if (typeof kvHeads === 'number') return kvHeads;
  return Object.fromEntries(
    Object.entries(kvHeads).map(([module, layers]) => [module, Object.freeze([...layers])]),
  );
}

type Given = Checked<ReturnType<typeof rulesOf>>;

function modulesOf(kvHeads: KvHeads, { modules }: Given): AttentionModule[] {
  if (typeof kvHeads === 'number') return [...new Set(modules ?? DEFAULT_MODULES)];
  const rule = convertedModulesRule(kvHeads);
  if (modules !== undefined && !rule.accepts(modules)) {
    throw invalidArgument('modules', rule.allowed, modules);
  }
  return modulesByLayer(kvHeads);
}

function checkTogether(resolved: ResolvedConversion, { calibration }: Given): void {
  const { kvHeads, merge, init, granularity, constraint, grouping } = resolved;
  if (grouping === 'similarity' && typeof kvHeads !== 'number') {
    throw invalidArgument(
      'kvHeads',
      "one number for all layers with grouping 'similarity'",
      kvHeads,
    );
  }
  if (merge !== 'weighted' || init !== 'least-squares') return;
  if (granularity !== 'head') {
    throw invalidArgument('init', `'mean' or 'random' with granularity '${granularity}'`, init);
  }
  if (constraint !== 'none') {
    throw invalidArgument('init', `'mean' or 'random' with constraint '${constraint}'`, init);
  }
  if (calibration === undefined) {
    throw invalidArgument('calibration', "given for init 'least-squares'", undefined);
  }
}

/** A preset for so many heads; an odd number of them cannot be halved and leaves `kvHeads` open. */
function presetOptions(preset: Preset, { num_heads: heads }: ModelConfig) {
  const { kvHeads: part, ...rest } = preset;
  const kvHeads = { all: heads, half: heads / 2, one: 1 }[part];
  return Number.isInteger(kvHeads) ? { ...rest, kvHeads } : rest;
}

export function toNativeConversion({ kvHeads, ...rest }: ResolvedConversion): NativeConvertOptions {
  if (typeof kvHeads === 'number') return { ...rest, kvHeads, kvHeadsByLayer: {} };
  const entries = Object.entries(kvHeads).map(([module, layers]) => [module, [...layers]] as const);
  return { ...rest, kvHeads: 1, kvHeadsByLayer: Object.fromEntries(entries) };
}

/** The configuration of the converted model. */
export function convertedConfig(config: ModelConfig, options: ResolvedConversion): ModelConfig {
  const { kvHeads, merge, granularity, init, constraint, modules } = options;
  const { grouping, alignment, expansion } = options;
  const weighted = merge === 'weighted';
  // Pooling every head with itself alone changes nothing.
  if (!weighted && !expansion && kvHeads === config.num_heads) return config;
  const wgqa: ConversionConfig = {
    kv_heads: kvHeads,
    merge,
    granularity: weighted ? granularity : null,
    init: weighted ? init : null,
    ...(grouping !== 'neighbouring' && { grouping }),
    ...(alignment !== 'none' && { alignment }),
    ...(weighted && constraint !== 'none' && { constraint }),
    ...(expansion && { expansion }),
    modules,
  };
  return Object.freeze({ ...config, num_key_value_heads: kvHeads, wgqa });
}

/** The configuration after folding. */
export function foldedConfig(config: ModelConfig): ModelConfig {
  const { wgqa, ...rest } = config;
  return Object.freeze({ ...rest, num_key_value_modules: wgqa?.modules ?? [] });
}
