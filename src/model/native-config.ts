/** `config.json` as the native model takes it. */
import { eosTokenIds, type DenseActivation, type ModelConfig } from '../checkpoint/config.ts';
import {
  expandedModules,
  kvHeadsInLayers,
  kvHeadsOf,
  mergedModules,
} from '../checkpoint/grouping.ts';
import type { Activation, NativeModelConfig } from '../native.ts';

const ACTIVATIONS: Readonly<Record<DenseActivation, Activation>> = {
  relu: 'relu',
  gelu: 'gelu',
  // Three names of the same tanh approximation.
  gelu_new: 'geluTanh',
  gelu_pytorch_tanh: 'geluTanh',
  gelu_fast: 'geluTanh',
  silu: 'silu',
  swish: 'silu',
};

export function toNativeConfig(config: ModelConfig): NativeModelConfig {
  const native: NativeModelConfig = {
    vocabSize: config.vocab_size,
    dModel: config.d_model,
    dKv: config.d_kv,
    dFf: config.d_ff,
    encoderLayers: config.num_layers,
    decoderLayers: config.num_decoder_layers,
    heads: config.num_heads,
    kvHeads: {
      'decoder.self': kvHeadsInLayers(config, 'decoder.self'),
      'decoder.cross': kvHeadsInLayers(config, 'decoder.cross'),
      'encoder.self': kvHeadsOf(config, 'encoder.self', 0),
    },
    mergedModules: [...mergedModules(config)],
    expandedModules: [...expandedModules(config)],
    constraint: config.wgqa?.constraint ?? 'none',
    relativeBuckets: config.relative_attention_num_buckets,
    relativeMaxDistance: config.relative_attention_max_distance,
    layerNormEpsilon: config.layer_norm_epsilon,
    activation: ACTIVATIONS[config.dense_act_fn],
    gated: config.is_gated_act,
    tiedEmbeddings: config.tie_word_embeddings,
    scaleDecoderOutputs: config.scale_decoder_outputs,
    dropoutRate: config.dropout_rate,
    initializerFactor: config.initializer_factor,
    padTokenId: config.pad_token_id,
    eosTokenIds: eosTokenIds(config),
    decoderStartTokenId: config.decoder_start_token_id,
  };
  const granularity = config.wgqa?.granularity;
  return granularity ? { ...native, granularity } : native;
}
