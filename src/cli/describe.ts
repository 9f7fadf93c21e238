/** A model's shape and sizes, from its configuration. */
import {
  kvHeadsOf,
  type AttentionModule,
  type FloatDtype,
  type Model,
  type ModelConfig,
} from '../index.ts';

export const MODULES: readonly AttentionModule[] = [
  'encoder.self',
  'decoder.self',
  'decoder.cross',
];

const BYTES_PER_ELEMENT: Readonly<Record<FloatDtype, number>> = {
  float32: 4,
  float16: 2,
  bfloat16: 2,
};

export interface ModelSizes {
  /** Scalars, of all parameters and of the merge weights among them. */
  readonly parameters: { readonly total: number; readonly merge: number };
  /** Bytes of the parameters as stored. */
  readonly bytes: number;
}

export function sizesOf(model: Model): ModelSizes {
  let [total, merge, bytes] = [0, 0, 0];
  for (const [name, { shape, dtype }] of model.parameters()) {
    const count = shape.reduce((product, size) => product * size, 1);
    total += count;
    bytes += count * BYTES_PER_ELEMENT[dtype];
    if (name.endsWith('.merge_weight')) merge += count;
  }
  return { parameters: { total, merge }, bytes };
}

/** Query heads and K/V heads by module. */
export function headsOf(
  config: ModelConfig,
): { module: AttentionModule; heads: number; kvHeads: number }[] {
  return MODULES.map((module) => ({
    module,
    heads: config.num_heads,
    kvHeads: kvHeadsOf(config, module),
  }));
}

/** Bytes of K and V kept per token, over all decoder layers. */
export function cacheBytesPerToken(config: ModelConfig, dtype: 'float32' | 'bfloat16') {
  const bytesOf = (module: AttentionModule): number =>
    2 *
    config.num_decoder_layers *
    kvHeadsOf(config, module) *
    config.d_kv *
    BYTES_PER_ELEMENT[dtype];
  return { selfAttention: bytesOf('decoder.self'), crossAttention: bytesOf('decoder.cross') };
}

/** `MHA`, or how the heads are grouped, in words. */
export function describeGrouping({ wgqa, num_key_value_heads: kvHeads }: ModelConfig): string {
  if (kvHeads === undefined) return 'multi-head, not converted';
  if (wgqa === undefined) return `${String(kvHeads)} K/V heads`;
  if (wgqa.merge === 'mean') return `${String(kvHeads)} K/V heads, mean of their groups`;
  return (
    `${String(kvHeads)} K/V heads, weighted sums with a weight per ${String(wgqa.granularity)}, ` +
    `started at ${wgqa.init === 'random' ? 'random' : 'the mean'}; not folded`
  );
}
