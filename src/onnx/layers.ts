/** The layers of T5 as nodes. Heads and tokens are laid out as in the cache: [batch, heads, tokens, headDim]. */
import { kvHeadsOf, type AttentionModule } from '../checkpoint/grouping.ts';
import type { DenseActivation } from '../checkpoint/config.ts';
import type { Model, ModelConfig } from '../model/index.ts';
import type { Scope } from './graph.ts';
import { parameter, type Precision } from './precision.ts';

/** What graphs are built of: a folded model and how its products are computed. */
export interface Blueprint {
  readonly model: Model;
  readonly config: ModelConfig;
  readonly precision: Precision;
}

export interface KeyValue {
  /** [batch, kvHeads, tokens, headDim]. */
  readonly key: string;
  readonly value: string;
}

/** Heads of one kind of attention. */
export interface Heads {
  readonly kvHeads: number;
  /** Query heads that share a K/V head. */
  readonly groupSize: number;
  readonly headDim: number;
}

export function headsOf(config: ModelConfig, module: AttentionModule, layer: number): Heads {
  const kvHeads = kvHeadsOf(config, module, layer);
  return { kvHeads, groupSize: config.num_heads / kvHeads, headDim: config.d_kv };
}

/** Root mean square norm (T5's layer norm): x / sqrt(mean(x^2) + epsilon) * weight. */
export function norm(scope: Scope, input: string, name: string, blueprint: Blueprint): string {
  const { model, config } = blueprint;
  const squares = scope.add('Pow', [input, scope.pool.float(2)]);
  const axes = scope.pool.integers([-1]);
  const mean = scope.add('ReduceMean', [squares, axes], { keepdims: 1 });
  const shifted = scope.add('Add', [mean, scope.pool.float(config.layer_norm_epsilon)]);
  const normalised = scope.add('Div', [input, scope.add('Sqrt', [shifted])]);
  return scope.add('Mul', [normalised, parameter(scope, model, name)]);
}

/** [batch, tokens, kvHeads · headDim] → [batch, kvHeads, tokens, headDim]. */
export function splitHeads(scope: Scope, input: string, { kvHeads, headDim }: Heads): string {
  const shape = scope.pool.integers([0, 0, kvHeads, headDim]);
  return scope.add('Transpose', [scope.add('Reshape', [input, shape])], { perm: [0, 2, 1, 3] });
}

/** Queries, with those of a group below one another: [batch, kvHeads, groupSize · tokens, headDim]. */
function groupQueries(scope: Scope, input: string, heads: Heads): string {
  const { kvHeads, groupSize, headDim } = heads;
  if (groupSize === 1) return splitHeads(scope, input, heads);
  const split = scope.pool.integers([0, 0, kvHeads, groupSize, headDim]);
  const perm = [0, 2, 3, 1, 4];
  const heads5 = scope.add('Transpose', [scope.add('Reshape', [input, split])], { perm });
  return scope.add('Reshape', [heads5, scope.pool.integers([0, kvHeads, -1, headDim])]);
}

/** The reverse of {@link groupQueries}: [batch, tokens, heads · headDim]. */
function ungroup(scope: Scope, input: string, { kvHeads, groupSize, headDim }: Heads): string {
  const joined = scope.pool.integers([0, 0, kvHeads * groupSize * headDim]);
  if (groupSize === 1) {
    const tokens = scope.add('Transpose', [input], { perm: [0, 2, 1, 3] });
    return scope.add('Reshape', [tokens, joined]);
  }
  const split = scope.pool.integers([0, kvHeads, groupSize, -1, headDim]);
  const perm = [0, 3, 1, 2, 4];
  const tokens = scope.add('Transpose', [scope.add('Reshape', [input, split])], { perm });
  return scope.add('Reshape', [tokens, joined]);
}

/**
 * Attention without scaling by 1/sqrt(headDim), as in T5. K and V are read once per group: the
 * queries of a group are rows of the same product. `bias` broadcasts to the scores
 * [batch, kvHeads, groupSize · queries, keys].
 */
export function attention(
  scope: Scope,
  queries: string,
  { key, value }: KeyValue,
  bias: string,
  heads: Heads,
): string {
  const grouped = groupQueries(scope, queries, heads);
  const transposed = scope.add('Transpose', [key], { perm: [0, 1, 3, 2] });
  const scores = scope.add('Add', [scope.add('MatMul', [grouped, transposed]), bias]);
  const weights = scope.add('Softmax', [scores], { axis: -1 });
  return ungroup(scope, scope.add('MatMul', [weights, value]), heads);
}

/** The projections of one attention layer. */
export interface AttentionWeights {
  /** "decoder.block.0.layer.0.SelfAttention". */
  readonly name: string;
  readonly heads: Heads;
}

/** Q, K and V of the same input [batch, tokens, d_model]; Q is not split into heads. */
export function selfProjections(
  scope: Scope,
  input: string,
  { name, heads }: AttentionWeights,
  { precision }: Blueprint,
): KeyValue & { readonly queries: string } {
  const parts = ['q', 'k', 'v'].map((projection) => `${name}.${projection}.weight`);
  const joint = precision.project(scope, input, { name: `${name}.qkv.weight`, parts });
  const kvWidth = heads.kvHeads * heads.headDim;
  const sizes = [kvWidth * heads.groupSize, kvWidth, kvWidth];
  const [queries = '', key = '', value = ''] = split(scope, joint, sizes);
  return {
    queries,
    key: splitHeads(scope, key, heads),
    value: splitHeads(scope, value, heads),
  };
}

/** K and V of encoder states [batch, tokens, d_model]. */
export function crossKeyValue(
  scope: Scope,
  encoderStates: string,
  { name, heads }: AttentionWeights,
  { precision }: Blueprint,
): KeyValue {
  const parts = ['k', 'v'].map((projection) => `${name}.${projection}.weight`);
  const joint = precision.project(scope, encoderStates, { name: `${name}.kv.weight`, parts });
  const width = heads.kvHeads * heads.headDim;
  const [key = '', value = ''] = split(scope, joint, [width, width]);
  return { key: splitHeads(scope, key, heads), value: splitHeads(scope, value, heads) };
}

/** The feed-forward layer with its norm and residual; `prefix` is "encoder.block.0.layer.1". */
export function feedForward(
  scope: Scope,
  input: string,
  prefix: string,
  blueprint: Blueprint,
): string {
  const { config, precision } = blueprint;
  const name = `${prefix}.DenseReluDense`;
  const normalised = norm(scope, input, `${prefix}.layer_norm.weight`, blueprint);
  const projectOne = (value: string, matrix: string): string =>
    precision.project(scope, value, {
      name: `${name}.${matrix}.weight.T`,
      parts: [`${name}.${matrix}.weight`],
    });
  let hidden: string;
  if (config.is_gated_act) {
    const parts = ['wi_0', 'wi_1'].map((matrix) => `${name}.${matrix}.weight`);
    const joint = precision.project(scope, normalised, { name: `${name}.wi.weight.T`, parts });
    const [gate = '', linear = ''] = split(scope, joint, [config.d_ff, config.d_ff]);
    hidden = scope.add('Mul', [activate(scope, gate, config.dense_act_fn), linear]);
  } else {
    hidden = activate(scope, projectOne(normalised, 'wi'), config.dense_act_fn);
  }
  return scope.add('Add', [input, projectOne(hidden, 'wo')]);
}

function activate(scope: Scope, input: string, activation: DenseActivation): string {
  switch (activation) {
    case 'relu':
      return scope.add('Relu', [input]);
    case 'gelu':
      return scope.add('Gelu', [input], { approximate: 'none' });
    case 'gelu_new':
    case 'gelu_pytorch_tanh':
    case 'gelu_fast':
      return scope.add('Gelu', [input], { approximate: 'tanh' });
    case 'silu':
    case 'swish':
      return scope.add('Mul', [input, scope.add('Sigmoid', [input])]);
  }
}

function split(scope: Scope, input: string, sizes: readonly number[]): string[] {
  const lengths = scope.pool.integers(sizes);
  return scope.addMany('Split', [input, lengths], { axis: -1 }, sizes.length);
}
