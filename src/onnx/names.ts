/** Names of inputs, outputs and files, as Hugging Face's Optimum and transformers.js expect them. */

export const ENCODER_FILE = 'encoder_model';
export const DECODER_FILE = 'decoder_model';
export const DECODER_WITH_PAST_FILE = 'decoder_with_past_model';
export const MERGED_DECODER_FILE = 'decoder_model_merged';

/** The folder of the graphs in an exported directory. */
export const ONNX_FOLDER = 'onnx';

export const INPUT_IDS = 'input_ids';
export const ATTENTION_MASK = 'attention_mask';
export const ENCODER_ATTENTION_MASK = 'encoder_attention_mask';
export const ENCODER_STATES = 'encoder_hidden_states';
export const LAST_HIDDEN_STATE = 'last_hidden_state';
export const LOGITS = 'logits';
export const USE_CACHE_BRANCH = 'use_cache_branch';

/** 'decoder': of self-attention; 'encoder': of cross-attention, from the encoder's states. */
export type CacheKind = 'decoder' | 'encoder';
export type CacheName = `${number}.${CacheKind}.${'key' | 'value'}`;

/** What stands behind "past_key_values." and "present.", layer by layer. */
export function cacheNames(layers: number, kinds: readonly CacheKind[]): CacheName[] {
  return Array.from({ length: layers }, (_, layer) =>
    kinds.flatMap((kind) =>
      (['key', 'value'] as const).map((part): CacheName => `${layer}.${kind}.${part}`),
    ),
  ).flat();
}

export const past = (name: CacheName): string => `past_key_values.${name}`;
export const present = (name: CacheName): string => `present.${name}`;
