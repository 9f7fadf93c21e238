import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  createDataset,
  evaluateExamples,
  evaluateLoss,
  meanLoss,
  type Example,
  type Model,
} from '../../src/index.ts';
import { randomRows, tinyModel } from '../support/tiny-model.ts';

// 290 targets in a batch: native code makes logits of 256 rows at a time, a boundary within a row.
const LENGTHS = [60, 1, 90, 40, 7, 80, 12];
const IGNORED = -100;

function examplesOf(): Example[] {
  const sources = randomRows(31, LENGTHS);
  const targets = randomRows(32, LENGTHS);
  return sources.map((source, i) => ({
    inputIds: Int32Array.from(source),
    labels: Int32Array.from(targets[i] ?? [], (label, j) =>
      i === 2 && j % 3 === 0 ? IGNORED : label,
    ),
  }));
}

describe('the loss of each example', () => {
  let model: Model;
  beforeAll(async () => {
    model = await tinyModel();
  });
  afterAll(() => model.dispose());

  test('is that of the example by itself', async () => {
    const examples = examplesOf();
    const dataset = createDataset(examples, { batchSize: 7, shuffle: false });
    const losses = await evaluateExamples(model, dataset);
    expect(losses.map(({ tokens }) => tokens)).toEqual([60, 1, 60, 40, 7, 80, 12]);
    for (const [i, { inputIds, labels }] of examples.entries()) {
      const { loss = NaN } = await model.forward({ inputIds: [inputIds], labels: [labels] });
      const { lossSum, tokens } = losses[i]!;
      // Products of another number of rows round otherwise: float32, a few thousand terms.
      expect(Math.abs(lossSum / tokens - loss)).toBeLessThan(1e-5 * loss);
    }
  });

  test('adds up to the loss of the whole, in any order and any batches', async () => {
    const examples = examplesOf();
    const losses = await evaluateExamples(
      model,
      createDataset(examples, { batchSize: 7, shuffle: false }),
    );
    const { loss, tokens } = await evaluateLoss(model, createDataset(examples, { batchSize: 2 }));
    expect(tokens).toBe(260);
    expect(meanLoss(losses)).toBeCloseTo(loss, 5);
  });

  test('fails as a batch without labels does', async () => {
    const dataset = {
      length: 1,
      batchCount: () => 1,
      batches: () => [{ inputIds: [[5, 1]] }] as never,
    };
    await expect(evaluateExamples(model, dataset)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      field: 'labels',
    });
  });
});
