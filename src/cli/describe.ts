/** A model's shape and sizes, from its configuration. */
import {
  isConversionWeight,
  kvHeadsInLayers,
  kvHeadsOf,
  type AttentionModule,
  type ConversionConfig,
  type FloatDtype,
  type KvHeads,
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
  /** Scalars, of all parameters and of the merge and expansion weights among them. */
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
    if (isConversionWeight(name)) merge += count;
  }
  return { parameters: { total, merge }, bytes };
}

/** Query heads and K/V heads by module. */
export function headsOf(
  config: ModelConfig,
): { module: AttentionModule; heads: number; kvHeads: number | number[] }[] {
  return MODULES.map((module) => ({
    module,
    heads: config.num_heads,
    kvHeads: kvHeadsInLayers(config, module),
  }));
}

/** Bytes of K and V kept per token, over all decoder layers. */
export function cacheBytesPerToken(config: ModelConfig, dtype: 'float32' | 'bfloat16') {
  const bytesOf = (module: AttentionModule): number => {
    let kvHeads = 0;
    for (let layer = 0; layer < config.num_decoder_layers; ++layer) {
      kvHeads += kvHeadsOf(config, module, layer);
    }
    return 2 * kvHeads * config.d_kv * BYTES_PER_ELEMENT[dtype];
  };
  return { selfAttention: bytesOf('decoder.self'), crossAttention: bytesOf('decoder.cross') };
}

/** `MHA`, or how the heads are grouped, in words. */
export function describeGrouping({ wgqa, num_key_value_heads: kvHeads }: ModelConfig): string {
  if (kvHeads === undefined) return 'multi-head, not converted';
  const heads = `${describeKvHeads(kvHeads)} K/V heads`;
  if (wgqa === undefined) return heads;
  return [
    heads,
    ...(wgqa.grouping === 'similarity' ? ['grouped by similarity'] : []),
    ...(wgqa.alignment === 'orthogonal' ? ['aligned'] : []),
    describeMerge(wgqa),
    ...(wgqa.expansion ? ['weighted expansion'] : []),
  ]
    .join(', ')
    .concat(wgqa.merge === 'weighted' || wgqa.expansion ? '; not folded' : '');
}

function describeKvHeads(kvHeads: KvHeads): string {
  if (typeof kvHeads === 'number') return String(kvHeads);
  return Object.entries(kvHeads)
    .map(([module, layers]) => `${module} ${layers.join(' ')}`)
    .join(', ');
}

const STARTS = {
  mean: 'the mean',
  random: 'random numbers',
  'least-squares': 'the least-squares fit',
} as const;

const BOUNDS = {
  softmax: 'positive weights that sum to one',
  signed: 'weights whose magnitudes sum to one',
} as const;

function describeMerge({ merge, granularity, init, constraint }: ConversionConfig): string {
  if (merge === 'mean') return 'mean of their groups';
  const weights = `weighted sums with a weight per ${String(granularity)}`;
  const bounds = constraint ? ` (${BOUNDS[constraint]})` : '';
  return `${weights}${bounds}, started at ${STARTS[init ?? 'mean']}`;
}
