/**
 * The keys that a conversion adds to `config.json`.
 *
 * Converted, not folded: `num_key_value_heads` and `wgqa`. Folded: `num_key_value_heads` and
 * `num_key_value_modules`. Neither: every module is multi-head.
 */
import { isDeepStrictEqual } from 'node:util';
import { invalidArgument, type WgqaError } from '../errors.ts';
import { arrayOf, integerIn, isRecord, oneOf, type Rule } from '../options.ts';

export const ATTENTION_MODULES = ['decoder.self', 'decoder.cross', 'encoder.self'] as const;
export type AttentionModule = (typeof ATTENTION_MODULES)[number];
export const DEFAULT_MODULES: readonly AttentionModule[] = ['decoder.self', 'decoder.cross'];

export const GRANULARITIES = ['head', 'row', 'column'] as const;
export type MergeGranularity = (typeof GRANULARITIES)[number];

export const MERGE_INITS = ['mean', 'random', 'least-squares'] as const;
export type MergeInit = (typeof MERGE_INITS)[number];

export const CONSTRAINTS = ['none', 'softmax', 'signed'] as const;
export type MergeConstraint = (typeof CONSTRAINTS)[number];

/** Modules whose K/V are cached: their heads may differ by layer. */
export const CACHED_MODULES = ['decoder.self', 'decoder.cross'] as const;

/** K/V heads of some modules, a number per layer. */
export type KvHeadsByLayer = Readonly<
  Partial<Record<(typeof CACHED_MODULES)[number], readonly number[]>>
>;

/** The same number in every layer of the converted modules, or one for each layer. */
export type KvHeads = number | KvHeadsByLayer;

/** How a model was converted, as `config.json` says it. */
export interface ConversionConfig {
  readonly kv_heads: KvHeads;
  readonly merge: 'mean' | 'weighted';
  /** null where merge is 'mean'. */
  readonly granularity: MergeGranularity | null;
  /** null where merge is 'mean'. */
  readonly init: MergeInit | null;
  /** How heads were prepared for it; absent: as neighbours, as they were. */
  readonly grouping?: 'similarity';
  readonly alignment?: 'orthogonal';
  /** What keeps merge weights in bounds; absent: nothing. */
  readonly constraint?: Exclude<MergeConstraint, 'none'>;
  /** Whether query heads scale the channels of what they read; absent: no. */
  readonly expansion?: true;
  readonly modules: readonly AttentionModule[];
}

export interface Grouping {
  /** K/V heads of the converted modules. */
  readonly num_key_value_heads?: KvHeads;
  /** Which modules have `num_key_value_heads`, in a folded checkpoint. */
  readonly num_key_value_modules?: readonly AttentionModule[];
  readonly wgqa?: ConversionConfig;
}

export const modulesRule: Rule<AttentionModule[]> = arrayOf(oneOf(...ATTENTION_MODULES), 1);

/** The values of `kvHeads` that `heads` query heads can share. */
export function kvHeadsRule(heads: number): Rule<number> {
  const integer = integerIn(1, heads);
  return {
    allowed: `a divisor of ${heads} (${divisors(heads).join(', ')})`,
    accepts: (value): value is number => integer.accepts(value) && heads % value === 0,
  };
}

/** What K/V heads have to fit. */
export interface HeadCounts {
  readonly num_heads: number;
  readonly num_decoder_layers: number;
}

/** The values of `kvHeads` that a model can have, by layer included. */
export function kvHeadsByLayerRule(counts: HeadCounts): Rule<KvHeads> {
  const { num_heads: heads, num_decoder_layers: layers } = counts;
  const divisor = kvHeadsRule(heads);
  const fits = (module: string, list: unknown): boolean =>
    (CACHED_MODULES as readonly string[]).includes(module) &&
    Array.isArray(list) &&
    list.length === layers &&
    // Spread: `every` skips what is missing.
    [...(list as unknown[])].every((kvHeads) => divisor.accepts(kvHeads));
  return {
    allowed:
      `${divisor.allowed}, or an object with ${layers} of them for ` +
      CACHED_MODULES.map((module) => `'${module}'`).join(' or '),
    accepts: (value): value is KvHeads => {
      if (!isRecord(value)) return divisor.accepts(value);
      const entries = Object.entries(value);
      return entries.length > 0 && entries.every(([module, list]) => fits(module, list));
    },
  };
}

/** The modules that K/V heads by layer are of. */
export function modulesByLayer(kvHeads: KvHeadsByLayer): AttentionModule[] {
  return CACHED_MODULES.filter((module) => kvHeads[module] !== undefined);
}

/** Checks the conversion keys of a configuration with these counts. */
export function parseGrouping(
  raw: Readonly<Record<string, unknown>>,
  counts: HeadCounts,
  reject: (key: string, allowed: string, actual: unknown) => WgqaError = invalidArgument,
): Grouping {
  const given = {
    kvHeads: raw['num_key_value_heads'] ?? undefined,
    wgqa: raw['wgqa'] ?? undefined,
  };
  if (given.kvHeads === undefined && given.wgqa === undefined) return {};
  const rule = kvHeadsByLayerRule(counts);
  if (!rule.accepts(given.kvHeads)) {
    throw reject('num_key_value_heads', rule.allowed, given.kvHeads);
  }
  const shared = { num_key_value_heads: given.kvHeads };
  if (given.wgqa !== undefined) {
    return { ...shared, wgqa: parseConversion(given.wgqa, given.kvHeads, reject) };
  }
  const modules = raw['num_key_value_modules'] ?? DEFAULT_MODULES;
  const modulesOfHeads = convertedModulesRule(given.kvHeads);
  if (!modulesOfHeads.accepts(modules)) {
    throw reject('num_key_value_modules', modulesOfHeads.allowed, modules);
  }
  return { ...shared, num_key_value_modules: modules };
}

/** The lists of modules that can have `kvHeads`. */
export function convertedModulesRule(kvHeads: KvHeads): Rule<AttentionModule[]> {
  if (typeof kvHeads === 'number') return modulesRule;
  const modules = modulesByLayer(kvHeads);
  return {
    allowed: `those of the K/V heads: ${modules.join(', ')}`,
    accepts: (value): value is AttentionModule[] =>
      modulesRule.accepts(value) &&
      value.length === modules.length &&
      modules.every((module) => value.includes(module)),
  };
}

const sameKvHeads = (kvHeads: KvHeads): Rule<KvHeads> => ({
  allowed: `num_key_value_heads, ${JSON.stringify(kvHeads)}`,
  accepts: (value): value is KvHeads => isDeepStrictEqual(value, kvHeads),
});

function parseConversion(
  value: unknown,
  kvHeads: KvHeads,
  reject: (key: string, allowed: string, actual: unknown) => WgqaError,
): ConversionConfig {
  if (!isRecord(value)) throw reject('wgqa', 'an object', value);
  const check = <T>(key: string, rule: Rule<T>): T => {
    if (!rule.accepts(value[key])) throw reject(`wgqa.${key}`, rule.allowed, value[key]);
    return value[key];
  };
  const merge = check('merge', oneOf('mean', 'weighted'));
  const weighted = merge === 'weighted';
  const given = (key: string): boolean => value[key] !== undefined;
  return {
    kv_heads: check('kv_heads', sameKvHeads(kvHeads)),
    merge,
    granularity: weighted ? check('granularity', oneOf(...GRANULARITIES)) : null,
    init: weighted ? check('init', oneOf(...MERGE_INITS)) : null,
    ...(given('grouping') && { grouping: check('grouping', oneOf('similarity')) }),
    ...(given('alignment') && { alignment: check('alignment', oneOf('orthogonal')) }),
    ...(weighted &&
      given('constraint') && { constraint: check('constraint', oneOf('softmax', 'signed')) }),
    ...(given('expansion') && { expansion: check('expansion', oneOf(true)) }),
    modules: check('modules', convertedModulesRule(kvHeads)),
  };
}

/** The modules with grouped K/V heads, folded or not. */
export function groupedModules(grouping: Grouping): readonly AttentionModule[] {
  return grouping.wgqa?.modules ?? grouping.num_key_value_modules ?? [];
}

/** The modules that hold all heads and merge weights to reduce them. */
export function mergedModules(grouping: Grouping): readonly AttentionModule[] {
  return grouping.wgqa?.merge === 'weighted' ? grouping.wgqa.modules : [];
}

/** The modules whose query heads scale what they read by weights that are not folded yet. */
export function expandedModules(grouping: Grouping): readonly AttentionModule[] {
  return grouping.wgqa?.expansion === true ? grouping.wgqa.modules : [];
}

/** Whether the model has merge or expansion weights, which folding removes. */
export function isFoldable(grouping: Grouping): boolean {
  return mergedModules(grouping).length > 0 || expandedModules(grouping).length > 0;
}

/** K/V heads that `module` attends with in `layer`, counted from 0. */
export function kvHeadsOf(
  config: Grouping & { readonly num_heads: number },
  module: AttentionModule,
  layer: number,
): number {
  const { num_heads: heads, num_key_value_heads: kvHeads = heads } = config;
  if (!groupedModules(config).includes(module)) return heads;
  if (typeof kvHeads === 'number') return kvHeads;
  return module === 'encoder.self' ? heads : (kvHeads[module]?.[layer] ?? heads);
}

/** K/V heads of `module`: one number where all layers have the same. */
export function kvHeadsInLayers(
  config: Grouping & HeadCounts,
  module: AttentionModule,
): number | number[] {
  // Those of the encoder never differ.
  const layers = Array.from({ length: config.num_decoder_layers }, (_, layer) =>
    kvHeadsOf(config, module, layer),
  );
  const [first = config.num_heads] = layers;
  return layers.every((kvHeads) => kvHeads === first) ? first : layers;
}

/** Mean K/V heads of the layers whose K/V are cached. */
export function meanKvHeads(config: Grouping & HeadCounts): number {
  let sum = 0;
  for (const module of CACHED_MODULES) {
    for (let layer = 0; layer < config.num_decoder_layers; ++layer) {
      sum += kvHeadsOf(config, module, layer);
    }
  }
  return sum / (CACHED_MODULES.length * config.num_decoder_layers);
}

/** `config` without any trace of a conversion: what an expanded checkpoint says. */
export function withoutGrouping(
  config: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const grouping = ['num_key_value_heads', 'num_key_value_modules', 'wgqa'];
  return Object.fromEntries(Object.entries(config).filter(([key]) => !grouping.includes(key)));
}

/** In ascending order. */
export function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
}
