/** What must not change a training step: how its batch is cut, and how many threads compute it. */
import { describe, expect, test } from '@jest/globals';
import {
  createModel,
  Trainer,
  type Model,
  type Tensor,
  type TrainerOptions,
} from '../../src/index.ts';
import { expectClose } from '../support/tensors.ts';
import { randomRows, TINY_V10, tinyBatch } from '../support/tiny-model.ts';
import { makeVariant, VARIANTS } from '../support/variants.ts';

// Sums of float32 in another order, compared to the largest element; measured up to 6e-6.
const TOLERANCE = 2e-5;

// Learning rate 0: the step reports its loss and leaves the parameters alone.
const STILL = { optimizer: { type: 'adamw', learningRate: 0 } } as const satisfies TrainerOptions;

describe.each(VARIANTS)('$name', (variant) => {
  test('the gradient of a batch is the mean of its rows, weighted by their labels', async () => {
    await using model = await makeVariant(variant);
    const batch = tinyBatch();
    const whole = await gradientsOf(model, batch);
    const total = batch.labels.flat().length;
    const sum = new Map<string, Tensor>();
    for (const [i, labels] of batch.labels.entries()) {
      const row = { inputIds: batch.inputIds.slice(i, i + 1), labels: [labels] };
      for (const [name, { data, shape }] of await gradientsOf(model, row)) {
        const before = sum.get(name)?.data ?? new Float32Array(data.length);
        const share = labels.length / total;
        sum.set(name, { data: before.map((value, j) => value + share * (data[j] ?? NaN)), shape });
      }
    }
    for (const [name, gradient] of whole) expectClose(name, gradient, sum.get(name), TOLERANCE);
  });

  test('accumulating over micro-batches is one batch', async () => {
    await using model = await makeVariant(variant);
    const whole = await gradientsOf(model, tinyBatch());
    const cut = await gradientsOf(model, tinyBatch(), { ...STILL, accumulate: 3 });
    for (const [name, gradient] of whole) expectClose(name, gradient, cut.get(name), TOLERANCE);
  });
});

describe('dropout', () => {
  const batch = { inputIds: randomRows(21, [30, 45, 12]), labels: randomRows(22, [20, 31, 40]) };
  const lossesOf = async (threads: number, seed: number): Promise<number[]> => {
    await using model = await createModel(TINY_V10, { seed: 7, threads });
    await using trainer = new Trainer(model, { ...STILL, dropout: 0.2, seed });
    const losses: number[] = [];
    for (let step = 0; step < 3; ++step) losses.push((await trainer.step(batch)).loss);
    return losses;
  };
  const difference = (a: readonly number[], b: readonly number[]): number =>
    Math.max(...a.map((loss, i) => Math.abs(loss - (b[i] ?? NaN))));

  test('follows the seed, bit for bit', async () => {
    expect(await lossesOf(2, 5)).toEqual(await lossesOf(2, 5));
  });

  test('differs from seed to seed and from step to step', async () => {
    const losses = await lossesOf(2, 5);
    expect(difference(losses, await lossesOf(2, 6))).toBeGreaterThan(1e-3);
    expect(Math.abs((losses[0] ?? NaN) - (losses[1] ?? NaN))).toBeGreaterThan(1e-3);
  });

  // The masks are the same; another number of threads may add the same products in another order (measured: the same bits).
  test.each([1, 3, 4])('does not depend on the number of threads: %i', async (threads) => {
    expect(difference(await lossesOf(threads, 5), await lossesOf(2, 5))).toBeLessThan(1e-5);
  });
});

async function gradientsOf(
  model: Model,
  batch: { readonly inputIds: number[][]; readonly labels: number[][] },
  options: TrainerOptions = STILL,
): Promise<Map<string, Tensor>> {
  await using trainer = new Trainer(model, options);
  return await trainer.gradients(batch);
}
