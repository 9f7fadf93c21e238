/**
 * The keys that a conversion adds to `config.json`.
 *
 * Converted, not folded: `num_key_value_heads` and `wgqa`. Folded: `num_key_value_heads` and
 * `num_key_value_modules`. Neither: every module is multi-head.
 */
import { invalidArgument, type WgqaError } from '../errors.ts';
import { arrayOf, integerIn, isRecord, oneOf, type Rule } from '../options.ts';

export const ATTENTION_MODULES = ['decoder.self', 'decoder.cross', 'encoder.self'] as const;
export type AttentionModule = (typeof ATTENTION_MODULES)[number];
export const DEFAULT_MODULES: readonly AttentionModule[] = ['decoder.self', 'decoder.cross'];

export const GRANULARITIES = ['head', 'row', 'column'] as const;
export type MergeGranularity = (typeof GRANULARITIES)[number];

/** How a model was converted, as `config.json` says it. */
export interface ConversionConfig {
  readonly kv_heads: number;
  readonly merge: 'mean' | 'weighted';
  /** null where merge is 'mean'. */
  readonly granularity: MergeGranularity | null;
  /** null where merge is 'mean'. */
  readonly init: 'mean' | 'random' | null;
  readonly modules: readonly AttentionModule[];
}

export interface Grouping {
  /** K/V heads of the converted modules. */
  readonly num_key_value_heads?: number;
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

/** Checks the conversion keys of a configuration with `heads` query heads. */
export function parseGrouping(
  raw: Readonly<Record<string, unknown>>,
  heads: number,
  reject: (key: string, allowed: string, actual: unknown) => WgqaError = invalidArgument,
): Grouping {
  const given = {
    kvHeads: raw['num_key_value_heads'] ?? undefined,
    wgqa: raw['wgqa'] ?? undefined,
  };
  if (given.kvHeads === undefined && given.wgqa === undefined) return {};
  const divisor = kvHeadsRule(heads);
  if (!divisor.accepts(given.kvHeads)) {
    throw reject('num_key_value_heads', divisor.allowed, given.kvHeads);
  }
  const shared = { num_key_value_heads: given.kvHeads };
  if (given.wgqa !== undefined) {
    return { ...shared, wgqa: parseConversion(given.wgqa, given.kvHeads, reject) };
  }
  const modules = raw['num_key_value_modules'] ?? DEFAULT_MODULES;
  if (!modulesRule.accepts(modules)) {
    throw reject('num_key_value_modules', modulesRule.allowed, modules);
  }
  return { ...shared, num_key_value_modules: modules };
}

function parseConversion(
  value: unknown,
  kvHeads: number,
  reject: (key: string, allowed: string, actual: unknown) => WgqaError,
): ConversionConfig {
  if (!isRecord(value)) throw reject('wgqa', 'an object', value);
  const check = <T>(key: string, rule: Rule<T>): T => {
    if (!rule.accepts(value[key])) throw reject(`wgqa.${key}`, rule.allowed, value[key]);
    return value[key];
  };
  const merge = check('merge', oneOf('mean', 'weighted'));
  return {
    kv_heads: check('kv_heads', integerIn(kvHeads, kvHeads)),
    merge,
    granularity: merge === 'mean' ? null : check('granularity', oneOf(...GRANULARITIES)),
    init: merge === 'mean' ? null : check('init', oneOf('mean', 'random')),
    modules: check('modules', modulesRule),
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

/** K/V heads that `module` attends with. */
export function kvHeadsOf(
  config: Grouping & { readonly num_heads: number },
  module: AttentionModule,
): number {
  const grouped = groupedModules(config).includes(module);
  return grouped ? (config.num_key_value_heads ?? config.num_heads) : config.num_heads;
}

/** `config` without any trace of a conversion: what an expanded checkpoint says. */
export function withoutGrouping(
  config: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  const grouping = ['num_key_value_heads', 'num_key_value_modules', 'wgqa'];
  return Object.fromEntries(Object.entries(config).filter(([key]) => !grouping.includes(key)));
}

function divisors(n: number): number[] {
  return Array.from({ length: n }, (_, i) => i + 1).filter((d) => n % d === 0);
}
