/** Every way to prepare heads with every way to merge them: trained, folded, saved and loaded. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { isConversionWeight, loadModel, Trainer, type Model } from '../../src/index.ts';
import {
  CALIBRATION,
  logitsOf,
  MERGES,
  parametersNamed,
  PREPARATIONS,
  valuesOf,
} from '../support/conversions.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { expectClose } from '../support/tensors.ts';
import { tinyBatch, tinyModel, TINY_V11 } from '../support/tiny-model.ts';

// The same sums, once more rounded.
const ROUNDING = 1e-5;

const newDirectory = useTemporaryDirectories();
const source = await tinyModel(TINY_V11);

afterAll(async () => {
  await source.dispose();
});

describe.each(PREPARATIONS)('%s', (_preparation, preparation) => {
  test.each(MERGES)('%s', async (_merge, merge) => {
    const options = { ...preparation, ...merge, calibration: CALIBRATION };
    await using model = await source.convert(options);
    await expectTrainable(model);
    await expectRoundTrip(model);
    if (merge.merge === 'weighted' || preparation.expansion) {
      await using folded = await model.fold();
      expect([...folded.parameters().keys()].filter(isConversionWeight)).toEqual([]);
      expectClose('folded', await logitsOf(folded), await logitsOf(model), ROUNDING);
      await expectRoundTrip(folded);
    } else {
      await using folded = await model.fold();
      expect(folded.config).toEqual(model.config);
      expectClose('folded', await logitsOf(folded), await logitsOf(model), 0);
    }
  });
});

/** One step moves the merged heads and, where there are any, merge and expansion weights. */
async function expectTrainable(model: Model): Promise<void> {
  const kinds = ['.k.weight', '.v.weight', '.merge_weight', '.expansion_weight'];
  const named = kinds
    .map((kind) => parametersNamed(model, kind))
    .filter((names) => names.length > 0);
  const before = await Promise.all(named.map((names) => valuesOf(model, names)));
  await using trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 1e-2 } });
  const { loss } = await trainer.step(tinyBatch());
  expect(loss).toBeGreaterThan(0);
  for (const [i, names] of named.entries()) {
    const after = await valuesOf(model, names);
    expect(after.every((values) => values.every(Number.isFinite))).toBe(true);
    expect(after).not.toEqual(before[i]);
  }
}

async function expectRoundTrip(model: Model): Promise<void> {
  const directory = newDirectory();
  await model.save(directory);
  await using loaded = await loadModel(directory);
  expect(loaded.config).toEqual({ ...loaded.config, ...model.config, dtype: 'float32' });
  expect([...loaded.parameters()]).toEqual([...model.parameters()]);
  expect(await logitsOf(loaded)).toEqual(await logitsOf(model));
}
