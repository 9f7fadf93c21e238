/** The matrix products that work on a T5 consists of. */
import { kvHeadsOf, type ModelConfig } from '../index.ts';
import type { Product } from './limits.ts';

function product(rows: number, depth: number, columns: number, count = 1): Product {
  return { batch: 1, rows, depth, columns, count };
}

/** Projections of K and V. */
function keyValue(config: ModelConfig, kvHeads: number, rows: number): Product {
  return product(rows, config.d_model, kvHeads * config.d_kv, 2);
}

/** Projections of queries and outputs. */
function queryOutput({ d_model, num_heads, d_kv }: ModelConfig, rows: number): Product[] {
  return [product(rows, d_model, num_heads * d_kv), product(rows, num_heads * d_kv, d_model)];
}

function feedForward({ d_model, d_ff, is_gated_act }: ModelConfig, rows: number): Product[] {
  return [product(rows, d_model, d_ff, is_gated_act ? 2 : 1), product(rows, d_ff, d_model)];
}

/** Scores, and the weighted sums of values. */
function attention(
  { num_heads, d_kv }: ModelConfig,
  sequences: number,
  queries: number,
  keys: number,
): Product[] {
  const batch = sequences * num_heads;
  return [
    { batch, rows: queries, depth: d_kv, columns: keys, count: 1 },
    { batch, rows: queries, depth: keys, columns: d_kv, count: 1 },
  ];
}

function repeated(products: readonly Product[], times: number): Product[] {
  return products.map((one) => ({ ...one, count: one.count * times }));
}

/** Encoding `sequences` sources of `tokens` each, with the K and V of cross-attention. */
export function encoderProducts(config: ModelConfig, sequences: number, tokens: number): Product[] {
  const rows = sequences * tokens;
  const layer = [
    ...queryOutput(config, rows),
    keyValue(config, kvHeadsOf(config, 'encoder.self', 0), rows),
    ...attention(config, sequences, tokens, tokens),
    ...feedForward(config, rows),
  ];
  const cross = decoderLayers(config).map((index) =>
    keyValue(config, kvHeadsOf(config, 'decoder.cross', index), rows),
  );
  return [...repeated(layer, config.num_layers), ...cross];
}

function decoderLayers({ num_decoder_layers: count }: ModelConfig): number[] {
  return Array.from({ length: count }, (_, index) => index);
}

function decoderProjections(config: ModelConfig, index: number, rows: number): Product[] {
  return [
    ...queryOutput(config, rows),
    keyValue(config, kvHeadsOf(config, 'decoder.self', index), rows),
    ...queryOutput(config, rows),
    ...feedForward(config, rows),
  ];
}

/** A decoding step of `rows` sequences, without attention: that is bound by reading its cache. */
export function decodeStepProducts(config: ModelConfig, rows: number): Product[] {
  return [
    ...decoderLayers(config).flatMap((index) => decoderProjections(config, index, rows)),
    product(rows, config.d_model, config.vocab_size),
  ];
}

/**
 * A training step, forward and backward. Causal attention counts with all its scores, although
 * half of them need not be computed.
 */
export function trainingProducts(
  config: ModelConfig,
  sequences: number,
  sourceTokens: number,
  targetTokens: number,
): Product[] {
  const rows = sequences * targetTokens;
  const decoderLayer = (index: number): Product[] => [
    ...decoderProjections(config, index, rows),
    ...attention(config, sequences, targetTokens, targetTokens),
    ...attention(config, sequences, targetTokens, sourceTokens),
  ];
  const forward = [
    ...encoderProducts(config, sequences, sourceTokens),
    ...decoderLayers(config).flatMap(decoderLayer),
    product(rows, config.d_model, config.vocab_size),
  ];
  return forward.flatMap(withGradients);
}

/** A product, the gradient of its left factor, and that of its right one. */
function withGradients(forward: Product): Product[] {
  const { rows, depth, columns } = forward;
  return [
    forward,
    { ...forward, depth: columns, columns: depth },
    { ...forward, rows: depth, depth: rows, columns },
  ];
}
