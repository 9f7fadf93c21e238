/** Updates that overflow, datasets that give nothing, and places that cannot be written to. */
import { expect, test } from '@jest/globals';
import {
  createDataset,
  evaluateLoss,
  Trainer,
  type AdafactorOptions,
  type AdamWOptions,
  type Dataset,
} from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { failureOf } from '../support/errors.ts';
import { tinyModel } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();
const BATCH = { inputIds: [[3, 4, 1]], labels: [[5, 6, 1]] };

test.each<AdamWOptions | AdafactorOptions>([
  { type: 'adamw', learningRate: 3e38 },
  { type: 'adafactor', learningRate: 3e38 },
  { type: 'adafactor', learningRate: 3e38, scaleParameter: true },
  { type: 'adamw', learningRate: 1e30, weightDecay: 1e30 },
])('an update that could overflow changes nothing: %j', async (optimizer) => {
  await using model = await tinyModel();
  await using trainer = new Trainer(model, { optimizer });
  const before = await model.readParameter('shared.weight');
  expect(await failureOf(() => trainer.step(BATCH))).toEqual({
    code: 'NON_FINITE',
    field: 'update',
  });
  expect(trainer.stepCount).toBe(0);
  expect(await model.readParameter('shared.weight')).toEqual(before);
});

test('parameters stay finite at any learning rate that is taken', async () => {
  for (const type of ['adamw', 'adafactor'] as const) {
    for (const learningRate of [1e10, 1e20, 1e27]) {
      await using model = await tinyModel();
      await using trainer = new Trainer(model, { optimizer: { type, learningRate } });
      for (let step = 0; step < 4; ++step) {
        const failed = await trainer.step(BATCH).then(
          () => undefined,
          (error: unknown) => error,
        );
        if (failed !== undefined) expect(failed).toMatchObject({ code: 'NON_FINITE' });
      }
      for (const name of model.parameters().keys()) {
        const { data } = await model.readParameter(name);
        expect(data.every(Number.isFinite)).toBe(true);
      }
    }
  }
});

test('a dataset without batches is refused, and trained on for ever by nobody', async () => {
  await using model = await tinyModel();
  await using trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 1e-3 } });
  const none: Dataset = { length: 1, batches: () => [], batchCount: () => 0 };
  const refused = { code: 'INVALID_ARGUMENT', field: 'dataset' };
  expect(await failureOf(() => evaluateLoss(model, none))).toEqual(refused);
  expect(await failureOf(() => trainer.fit(none, { steps: 3 }))).toEqual(refused);
  expect(await trainer.fit(none, { epochs: 1 })).toMatchObject({ step: 0 });
});

test.each<[string, () => unknown, string]>([
  ['null', () => null, 'examples'],
  ['no examples', () => [], 'examples'],
  ['a sparse array', () => new Array<unknown>(2 ** 32 - 1), 'examples[0]'],
  ['a null', () => [null], 'examples[0]'],
  ['text', () => [{ inputIds: 'ab', labels: Int32Array.of(1) }], 'examples[0].inputIds'],
  ['no labels', () => [{ inputIds: Int32Array.of(1) }], 'examples[0].labels'],
])('createDataset refuses %s', async (_, make, field) => {
  const create = () => createDataset(make() as never, { batchSize: 1 });
  expect(await failureOf(create)).toEqual({ code: 'INVALID_ARGUMENT', field });
});

test('metrics into a directory, or a path with NUL, are typed errors', async () => {
  await using model = await tinyModel();
  await using trainer = new Trainer(model, { optimizer: { type: 'adamw', learningRate: 1e-3 } });
  const row = { inputIds: Int32Array.of(3, 1), labels: Int32Array.of(4, 1) };
  const dataset = createDataset([row], { batchSize: 1 });
  const fit = (metricsFile: string) => trainer.fit(dataset, { steps: 1, metricsFile });
  expect((await failureOf(() => fit(newDirectory()))).code).toBe('IO');
  expect((await failureOf(() => fit('a\0b'))).field).toBe('metricsFile');
});
