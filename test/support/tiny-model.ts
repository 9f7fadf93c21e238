/** Tiny random models and batches for equalities that need no reference. */
import { createModel, type Model } from '../../src/index.ts';

/** T5 v1.0: relu, tied embeddings; two unequal depths, inner dimension 24 beside d_model 16. */
export const TINY_V10 = {
  model_type: 't5',
  vocab_size: 40,
  d_model: 16,
  d_kv: 6,
  d_ff: 20,
  num_layers: 2,
  num_decoder_layers: 3,
  num_heads: 4,
  relative_attention_num_buckets: 8,
  relative_attention_max_distance: 16,
  feed_forward_proj: 'relu',
  tie_word_embeddings: true,
  dropout_rate: 0.1,
  initializer_factor: 1,
} as const;

/** T5 v1.1: gated GELU, untied embeddings. */
export const TINY_V11 = {
  ...TINY_V10,
  feed_forward_proj: 'gated-gelu',
  tie_word_embeddings: false,
} as const;

export async function tinyModel(config: Record<string, unknown> = TINY_V10): Promise<Model> {
  return createModel(config, { seed: 7 });
}

/** Reproducible integers in [0, bound): a linear congruential generator. */
export function randomIntegers(seed: number): (bound: number) => number {
  let state = seed;
  return (bound) => {
    state = (state * 1_103_515_245 + 12_345) % 0x8000_0000;
    return Math.floor((state / 0x8000_0000) * bound);
  };
}

/** Ragged rows of token ids 2 to 39 that end with the end token 1. */
export function randomRows(seed: number, lengths: readonly number[]): number[][] {
  const random = randomIntegers(seed);
  return lengths.map((length) => [...Array.from({ length: length - 1 }, () => 2 + random(38)), 1]);
}

export function tinyBatch(seed = 3): { inputIds: number[][]; labels: number[][] } {
  return { inputIds: randomRows(seed, [7, 3, 11]), labels: randomRows(seed + 1, [5, 8, 2]) };
}
