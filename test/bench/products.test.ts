import { expect, test } from '@jest/globals';
import { flopsOf } from '../../src/bench/limits.ts';
import { decodeStepProducts, encoderProducts, trainingProducts } from '../../src/bench/products.ts';
import { TINY_V10, tinyModel } from '../support/tiny-model.ts';
import type { Model } from '../../src/index.ts';

/** Scalars of the parameters that a name matches. */
function scalars(model: Model, matches: RegExp): number {
  return [...model.parameters()]
    .filter(([name]) => matches.test(name))
    .reduce((sum, [, { shape }]) => sum + shape.reduce((a, b) => a * b, 1), 0);
}

const MATRICES = /(Attention\.[qkvo]|DenseReluDense\.w\w+)\.weight$/;

test('a decoding step multiplies each row with every matrix of the decoder once', async () => {
  await using model = await tinyModel(TINY_V10);
  await using grouped = await model.convert({ kvHeads: 1, merge: 'mean' });
  for (const one of [model, grouped]) {
    const { d_model, vocab_size } = one.config;
    const crossKv = scalars(one, /decoder.*EncDecAttention\.[kv]\.weight/);
    const decoder = scalars(one, new RegExp(`^decoder.*${MATRICES.source}`)) - crossKv;
    expect(flopsOf(decodeStepProducts(one.config, 3))).toBe(
      2 * 3 * (decoder + d_model * vocab_size),
    );
  }
});

test('an encoder multiplies each token with every matrix, and queries with keys', async () => {
  await using model = await tinyModel(TINY_V10);
  const { num_layers, num_heads, d_kv } = model.config;
  const matrices =
    scalars(model, new RegExp(`^encoder.*${MATRICES.source}`)) +
    scalars(model, /decoder.*EncDecAttention\.[kv]\.weight/);
  const attention = 2 * num_layers * 2 * 5 * 5 * num_heads * d_kv;
  expect(flopsOf(encoderProducts(model.config, 2, 5))).toBe(2 * (2 * 5) * matrices + 2 * attention);
});

test('a training step has a forward product and two of gradients for each', async () => {
  await using model = await tinyModel(TINY_V10);
  const products = trainingProducts(model.config, 2, 5, 3);
  const forward = products.filter((_, i) => i % 3 === 0);
  expect(flopsOf(products)).toBe(3 * flopsOf(forward));
  expect(flopsOf(forward)).toBeGreaterThan(
    flopsOf(encoderProducts(model.config, 2, 5)) + flopsOf(decodeStepProducts(model.config, 6)),
  );
});
