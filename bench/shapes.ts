/** Shapes of published T5 v1.0 checkpoints, as `config.json` has them. */

const SHARED = { vocab_size: 32_128, d_kv: 64, dropout_rate: 0.1 };

export const T5_SMALL = {
  ...SHARED,
  d_model: 512,
  d_ff: 2048,
  num_layers: 6,
  num_heads: 8,
};

export const T5_BASE = {
  ...SHARED,
  d_model: 768,
  d_ff: 3072,
  num_layers: 12,
  num_heads: 12,
};
