/** What is added to attention scores: T5's bias by relative position, and masks. */
import type { ModelConfig } from '../model/index.ts';
import type { Scope } from './graph.ts';
import type { Blueprint, Heads } from './layers.ts';
import { parameter } from './precision.ts';
import { bucketTable, type Bucketing } from './relative-buckets.ts';

/** The lowest float32, as Hugging Face masks with: a row that is masked throughout stays finite. */
const MASKED = -3.4028234663852886e38;

/** Positions as scalars of the graph: queries are the last tokens of the keys. */
export interface Positions {
  readonly firstQuery: string;
  /** Number of keys. */
  readonly keys: string;
}

export type Stack = 'encoder' | 'decoder';

/** Size of dimension `axis` of a value, as a scalar. */
export function sizeOf(scope: Scope, value: string, axis: number): string {
  const size = scope.add('Shape', [value], { start: axis, end: axis + 1 });
  return scope.add('Squeeze', [size, scope.pool.integers([0])]);
}

/** The encoder's: relative bias and mask [batch, tokens], one for every layer. */
export function encoderBias(
  scope: Scope,
  ids: string,
  mask: string,
  blueprint: Blueprint,
  heads: Heads,
): string {
  const positions = { firstQuery: scope.pool.integer(0), keys: sizeOf(scope, ids, 1) };
  const offsets = relativePositions(scope, positions);
  const bias = relativeBias(scope, offsets, 'encoder', blueprint);
  return groupRows(scope, scope.add('Add', [bias, maskBias(scope, mask)]), positions, heads);
}

/** The decoder's, for layers with these heads each: relative bias, and no key behind its query. */
export function decoderBiases(
  scope: Scope,
  positions: Positions,
  blueprint: Blueprint,
  layers: readonly Heads[],
): string[] {
  const offsets = relativePositions(scope, positions);
  const bias = relativeBias(scope, offsets, 'decoder', blueprint);
  const isLater = scope.add('Greater', [offsets, scope.pool.integer(0)]);
  const causal = scope.add('Where', [isLater, scope.pool.float(MASKED), bias]);
  const grouped = new Map<number, string>();
  return layers.map((heads) => {
    const bias = grouped.get(heads.kvHeads) ?? groupRows(scope, causal, positions, heads);
    grouped.set(heads.kvHeads, bias);
    return bias;
  });
}

/** A mask [batch, keys] of ones and zeros → [batch, 1, 1, keys], 0 where it is one. */
export function maskBias(scope: Scope, mask: string): string {
  const float = scope.add('Cast', [mask], { to: 1 });
  const isPadding = scope.add('Sub', [scope.pool.float(1), float]);
  const bias = scope.add('Mul', [isPadding, scope.pool.float(MASKED)]);
  return scope.add('Unsqueeze', [bias, scope.pool.integers([1, 2])]);
}

/** Key minus query position, [queries, keys]. */
function relativePositions(scope: Scope, { firstQuery, keys }: Positions): string {
  const range = (start: string): string => scope.add('Range', [start, keys, scope.pool.integer(1)]);
  const rows = scope.add('Unsqueeze', [range(firstQuery), scope.pool.integers([1])]);
  return scope.add('Sub', [range(scope.pool.integer(0)), rows]);
}

/** [1, heads, queries, keys] from the table [buckets, heads]. */
function relativeBias(
  scope: Scope,
  offsets: string,
  stack: Stack,
  { model, config }: Blueprint,
): string {
  const { pool } = scope;
  const far = config.relative_attention_max_distance;
  const atLeast = scope.add('Max', [offsets, pool.integer(-far)]);
  const clipped = scope.add('Min', [atLeast, pool.integer(far)]);
  const index = scope.add('Add', [clipped, pool.integer(far)]);
  const buckets = scope.add('Gather', [bucketsByOffset(scope, stack, config), index]);
  const name = `${stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight`;
  const bias = scope.add('Gather', [parameter(scope, model, name), buckets]);
  const headsFirst = scope.add('Transpose', [bias], { perm: [2, 0, 1] });
  return scope.add('Unsqueeze', [headsFirst, pool.integers([0])]);
}

function bucketsByOffset(scope: Scope, stack: Stack, config: ModelConfig): string {
  const bucketing: Bucketing = {
    buckets: config.relative_attention_num_buckets,
    maxDistance: config.relative_attention_max_distance,
    bidirectional: stack === 'encoder',
  };
  return scope.pool.add({
    name: `${stack}.relative_attention_buckets`,
    type: 'int32',
    shape: [2 * bucketing.maxDistance + 1],
    read: () => new Uint8Array(bucketTable(bucketing).buffer),
  });
}

/** [batch, heads, queries, keys] → [batch, kvHeads, groupSize · queries, keys]. */
function groupRows(
  scope: Scope,
  bias: string,
  { keys }: Positions,
  { kvHeads, groupSize }: Heads,
): string {
  if (groupSize === 1) return bias;
  const { pool } = scope;
  const last = scope.add('Unsqueeze', [keys, pool.integers([0])]);
  const shape = scope.add('Concat', [pool.integers([0, kvHeads, -1]), last], { axis: 0 });
  return scope.add('Reshape', [bias, shape]);
}
