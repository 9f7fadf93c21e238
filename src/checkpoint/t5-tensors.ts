/** The parameters a T5 of a given configuration has, by the names Hugging Face gives them. */
import type { ModelConfig } from './config.ts';
import { expandedModules, kvHeadsOf, mergedModules, type AttentionModule } from './grouping.ts';

export type ParameterShapes = ReadonlyMap<string, readonly number[]>;

/** The dtypes of weights, by their names in safetensors. */
export const FLOAT_DTYPES = { F32: 'float32', F16: 'float16', BF16: 'bfloat16' } as const;
export type FloatDtype = (typeof FLOAT_DTYPES)[keyof typeof FLOAT_DTYPES];

/**
 * Names under which public checkpoints store the embedding that encoder and decoder share: any of
 * them, or several copies. The first is the parameter's name.
 */
export const EMBEDDING_NAMES = [
  'shared.weight',
  'encoder.embed_tokens.weight',
  'decoder.embed_tokens.weight',
] as const;
/** The vocabulary projection of a model whose embedding is not it; else a copy of the embedding. */
export const HEAD_NAME = 'lm_head.weight';

/** Whether files may or may not hold `name`, a copy of the embedding. */
export function isTiedName(name: string): boolean {
  return name === HEAD_NAME || (EMBEDDING_NAMES as readonly string[]).includes(name);
}

/** Name and shape of every parameter, in the order of computation. */
export function t5Parameters(config: ModelConfig): ParameterShapes {
  const shapes = new Map<string, readonly number[]>();
  const { d_model: dModel, vocab_size: vocab } = config;
  shapes.set('shared.weight', [vocab, dModel]);
  addStack(shapes, config, 'encoder', config.num_layers);
  addStack(shapes, config, 'decoder', config.num_decoder_layers);
  if (!config.tie_word_embeddings) shapes.set(HEAD_NAME, [vocab, dModel]);
  return shapes;
}

/** The number of scalars in `shapes`. */
export function scalarCount(shapes: ParameterShapes): number {
  let count = 0;
  for (const shape of shapes.values()) count += shape.reduce((product, size) => product * size, 1);
  return count;
}

/** Where the attention is that the parameter `name` ("...SelfAttention.k.weight") belongs to. */
export function attentionOf(
  name: string,
): { readonly module: AttentionModule; readonly layer: number } | undefined {
  const match =
    /^(encoder|decoder)\.block\.(\d+)\.layer\.\d+\.(SelfAttention|EncDecAttention)\./.exec(name);
  if (match === null) return undefined;
  const [, stack, layer, attention] = match;
  const self = stack === 'encoder' ? 'encoder.self' : 'decoder.self';
  return {
    module: attention === 'SelfAttention' ? self : 'decoder.cross',
    layer: Number(layer),
  };
}

/** Whether `name` is a K or V projection, whose rows an expanded checkpoint repeats. */
export function isKvProjection(name: string): boolean {
  return /Attention\.[kv]\.weight$/.test(name);
}

/** Whether `name` came with a conversion: a merge or expansion weight, which folding removes. */
export function isConversionWeight(name: string): boolean {
  return name.endsWith('.merge_weight') || name.endsWith('.expansion_weight');
}

function addStack(
  shapes: Map<string, readonly number[]>,
  config: ModelConfig,
  stack: 'encoder' | 'decoder',
  layers: number,
): void {
  const norm = [config.d_model];
  for (let layer = 0; layer < layers; ++layer) {
    const block = `${stack}.block.${layer}`;
    const sublayers =
      stack === 'encoder'
        ? ([['SelfAttention', 'encoder.self']] as const)
        : ([
            ['SelfAttention', 'decoder.self'],
            ['EncDecAttention', 'decoder.cross'],
          ] as const);
    for (const [index, [name, module]] of sublayers.entries()) {
      const prefix = `${block}.layer.${index}`;
      addAttention(shapes, config, `${prefix}.${name}`, { module, layer });
      if (layer === 0 && name === 'SelfAttention') {
        const table = [config.relative_attention_num_buckets, config.num_heads];
        shapes.set(`${prefix}.${name}.relative_attention_bias.weight`, table);
      }
      shapes.set(`${prefix}.layer_norm.weight`, norm);
    }
    addFeedForward(shapes, config, `${block}.layer.${sublayers.length}`);
  }
  shapes.set(`${stack}.final_layer_norm.weight`, norm);
}

function addAttention(
  shapes: Map<string, readonly number[]>,
  config: ModelConfig,
  prefix: string,
  { module, layer }: { readonly module: AttentionModule; readonly layer: number },
): void {
  const { d_model: dModel, d_kv: headDim, num_heads: heads } = config;
  const merged = mergedModules(config).includes(module);
  const expanded = expandedModules(config).includes(module);
  const kvRows = (merged ? heads : kvHeadsOf(config, module, layer)) * headDim;
  shapes.set(`${prefix}.q.weight`, [heads * headDim, dModel]);
  for (const projection of ['k', 'v']) {
    shapes.set(`${prefix}.${projection}.weight`, [kvRows, dModel]);
    if (merged) shapes.set(`${prefix}.${projection}.merge_weight`, mergeShape(config));
    if (expanded) shapes.set(`${prefix}.${projection}.expansion_weight`, [heads, headDim, 1]);
  }
  shapes.set(`${prefix}.o.weight`, [dModel, heads * headDim]);
}

function mergeShape(config: ModelConfig): readonly number[] {
  const heads = config.num_heads;
  switch (config.wgqa?.granularity) {
    case 'row':
      return [heads, 1, config.d_model];
    case 'column':
      return [heads, config.d_kv, 1];
    case 'head':
    case null:
    case undefined:
      return [heads, 1, 1];
  }
}

function addFeedForward(
  shapes: Map<string, readonly number[]>,
  config: ModelConfig,
  prefix: string,
): void {
  const { d_model: dModel, d_ff: dFf } = config;
  for (const input of config.is_gated_act ? ['wi_0', 'wi_1'] : ['wi']) {
    shapes.set(`${prefix}.DenseReluDense.${input}.weight`, [dFf, dModel]);
  }
  shapes.set(`${prefix}.DenseReluDense.wo.weight`, [dModel, dFf]);
  shapes.set(`${prefix}.layer_norm.weight`, [dModel]);
}
