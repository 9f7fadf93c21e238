import { describe, expect, test } from '@jest/globals';
import {
  createModel,
  Trainer,
  type Model,
  type Tensor,
  type TrainingBatch,
} from '../../src/index.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { expectClose, relativeError } from '../support/tensors.ts';
import { randomRows, tinyBatch, tinyModel, TINY_V10, TINY_V11 } from '../support/tiny-model.ts';

const ADAMW = { type: 'adamw', learningRate: 1e-2 } as const;
const NO_DROPOUT = { optimizer: ADAMW, dropout: 0 } as const;

async function allParameters(model: Model): Promise<Map<string, Tensor>> {
  const entries = [...model.parameters().keys()].map(
    async (name) => [name, await model.readParameter(name)] as const,
  );
  return new Map(await Promise.all(entries));
}

describe('a step', () => {
  test('reports loss, norm, rate and tokens, and lowers the loss over time', async () => {
    const model = await tinyModel();
    const trainer = new Trainer(model, NO_DROPOUT);
    const batch = tinyBatch();
    const gradients = await trainer.gradients(batch);
    const { loss: before } = await model.forward(batch);
    const first = await trainer.step(batch);
    expect(first.loss).toBeCloseTo(before ?? NaN, 4);
    expect(first.learningRate).toBe(1e-2);
    expect(first.tokens).toBe(7 + 3 + 11 + 5 + 8 + 2);
    let squares = 0;
    for (const { data } of gradients.values()) for (const g of data) squares += g * g;
    expect(first.gradNorm / Math.sqrt(squares)).toBeCloseTo(1, 4);
    for (let i = 0; i < 20; ++i) await trainer.step(batch);
    expect((await trainer.step(batch)).loss).toBeLessThan(0.7 * first.loss);
    expect(trainer.stepCount).toBe(22);
    await model.dispose();
  });

  test('of accumulated micro-batches is that of the whole batch', async () => {
    const after: Map<string, Tensor>[] = [];
    for (const accumulate of [1, 3, 100]) {
      const model = await tinyModel(TINY_V11);
      // Without the epsilon's help, Adam would turn rounding errors of tiny gradients into steps.
      const optimizer = { ...ADAMW, epsilon: 1e-3 };
      const trainer = new Trainer(model, { optimizer, dropout: 0, accumulate });
      await trainer.step(tinyBatch());
      after.push(await allParameters(model));
      await model.dispose();
    }
    const [whole, ...cut] = after;
    for (const [name, tensor] of whole ?? []) {
      for (const parts of cut) expectClose(name, parts.get(name), tensor, 1e-5);
    }
  });

  test('ignores padding and what -100 marks', async () => {
    const model = await tinyModel();
    const trainer = new Trainer(model, NO_DROPOUT);
    const ragged = await trainer.gradients({ inputIds: [[5, 6, 1]], labels: [[7, 8, 1]] });
    const padded = await trainer.gradients({
      inputIds: [[5, 6, 1, 0, 0]],
      attentionMask: [[1, 1, 1, 0, 0]],
      labels: [[7, 8, 1, -100, -100]],
    });
    for (const [name, tensor] of ragged) expectClose(name, padded.get(name), tensor, 1e-6);
    await model.dispose();
  });

  test('clips the gradient to maxGradNorm', async () => {
    // One step of SGD-like Adafactor without clipping of its own shows the gradient's scale.
    const norms: number[] = [];
    for (const maxGradNorm of [0, 1e-3]) {
      const model = await tinyModel();
      const before = await allParameters(model);
      const optimizer = { ...ADAMW, epsilon: 1, weightDecay: 0 };
      const trainer = new Trainer(model, { optimizer, dropout: 0, maxGradNorm });
      const { gradNorm } = await trainer.step(tinyBatch());
      let squares = 0;
      for (const [name, { data }] of await allParameters(model)) {
        const old = before.get(name)?.data ?? [];
        for (const [i, value] of data.entries()) squares += (value - (old[i] ?? NaN)) ** 2;
      }
      // With epsilon 1, the first update is nearly lr * g.
      norms.push(Math.sqrt(squares) / 1e-2 / (maxGradNorm || gradNorm));
      await model.dispose();
    }
    expect(norms[1]).toBeCloseTo(1, 1);
    expect(norms[0]).toBeLessThan(1.01);
  });

  test('with dropout depends on the seed and the step alone', async () => {
    const run = async (seed: number, threads: number): Promise<number[]> => {
      const model = await createModel({ ...TINY_V10, dropout_rate: 0.3 }, { seed: 7, threads });
      const trainer = new Trainer(model, { optimizer: ADAMW, seed });
      const losses = [await trainer.step(tinyBatch()), await trainer.step(tinyBatch())];
      await model.dispose();
      return losses.map(({ loss }) => loss);
    };
    const [a, b, c] = [await run(1, 1), await run(1, 2), await run(2, 1)];
    expect(b).toEqual(a);
    expect(c[0]).not.toBe(a[0]);
  });
});

describe('merge weights', () => {
  test('have the gradient <dL/dK_g, K_h> of the pooled projection', async () => {
    const source = await tinyModel();
    const gqa = await source.convert({ kvHeads: 2, merge: 'mean' });
    const wgqa = await source.convert({ kvHeads: 2, merge: 'weighted' });
    const pooled = await new Trainer(gqa, NO_DROPOUT).gradients(tinyBatch());
    const weighted = await new Trainer(wgqa, NO_DROPOUT).gradients(tinyBatch());
    const headSize = 6 * 16;
    for (const [name, tensor] of weighted) {
      if (!name.endsWith('.merge_weight')) continue;
      const projection = name.replace('.merge_weight', '.weight');
      const { data: heads } = await source.readParameter(projection);
      const groups = pooled.get(projection)?.data ?? new Float32Array();
      const expected = Float32Array.from({ length: 4 }, (_, head) => {
        const group = Math.floor(head / 2);
        let sum = 0;
        for (let i = 0; i < headSize; ++i) {
          sum += (groups[group * headSize + i] ?? NaN) * (heads[head * headSize + i] ?? NaN);
        }
        return sum;
      });
      expectClose(name, tensor, { data: expected, shape: [4, 1, 1] }, 1e-4);
    }
    await Promise.all([source, gqa, wgqa].map((model) => model.dispose()));
  });

  test('alone are trained with trainable merge', async () => {
    const source = await tinyModel();
    const model = await source.convert({ preset: 'COLWGQA' });
    const before = await allParameters(model);
    const trainer = new Trainer(model, { ...NO_DROPOUT, trainable: 'merge' });
    expect([...(await trainer.gradients(tinyBatch())).keys()]).toHaveLength(12);
    await trainer.step(tinyBatch());
    for (const [name, tensor] of await allParameters(model)) {
      const changed = relativeError(tensor.data, before.get(name)?.data ?? []) > 0;
      expect({ name, changed }).toEqual({ name, changed: name.endsWith('.merge_weight') });
    }
    await Promise.all([source.dispose(), model.dispose()]);
  });

  test('are decayed or not, as decayMergeWeights says', async () => {
    const source = await tinyModel();
    const name = 'decoder.block.0.layer.0.SelfAttention.k.merge_weight';
    const values: number[] = [];
    for (const decayMergeWeights of [true, false]) {
      const model = await source.convert({ preset: 'WGQA' });
      // An infinitely careful Adam: only the decay of lr * 0.5 per step is left.
      const optimizer = {
        type: 'adamw',
        learningRate: 1,
        epsilon: 1e30,
        weightDecay: 0.5,
      } as const;
      await new Trainer(model, { optimizer, decayMergeWeights }).step(tinyBatch());
      values.push((await model.readParameter(name)).data[0] ?? NaN);
      await model.dispose();
    }
    expect(values).toEqual([0.25, 0.5]);
    await source.dispose();
  });
});

describe('Adafactor', () => {
  test('lowers the loss', async () => {
    const model = await tinyModel();
    const trainer = new Trainer(model, {
      optimizer: { type: 'adafactor', learningRate: 1e-2 },
      dropout: 0,
    });
    const first = await trainer.step(tinyBatch());
    for (let i = 0; i < 30; ++i) await trainer.step(tinyBatch());
    expect((await trainer.step(tinyBatch())).loss).toBeLessThan(0.7 * first.loss);
    await model.dispose();
  });

  test('moves each matrix by at most the learning rate times clipThreshold in root mean square', async () => {
    const model = await tinyModel();
    const before = await allParameters(model);
    const optimizer = { type: 'adafactor', learningRate: 1e-2, clipThreshold: 0.5 } as const;
    await new Trainer(model, { optimizer, dropout: 0 }).step(tinyBatch());
    for (const [name, { data }] of await allParameters(model)) {
      const old = before.get(name)?.data ?? [];
      const squares = data.reduce((sum, value, i) => sum + (value - (old[i] ?? NaN)) ** 2, 0);
      expect(Math.sqrt(squares / data.length)).toBeLessThan(1e-2 * 0.5 * 1.001);
    }
    await model.dispose();
  });
});

describe('a step that fails leaves everything as it was', () => {
  test('a loss that is not finite', async () => {
    const model = await tinyModel();
    const name = 'decoder.final_layer_norm.weight';
    const good = await model.readParameter(name);
    await model.writeParameter(name, { ...good, data: good.data.map(() => NaN) });
    const trainer = new Trainer(model, NO_DROPOUT);
    const before = await allParameters(model);
    expect((await errorOf(() => trainer.step(tinyBatch()))).code).toBe('NON_FINITE');
    expect(await allParameters(model)).toEqual(before);
    expect(trainer.stepCount).toBe(0);
    await model.writeParameter(name, good);
    expect((await trainer.step(tinyBatch())).loss).toBeGreaterThan(0);
    await model.dispose();
  });

  test('an abort before or during the step', async () => {
    const model = await tinyModel();
    const trainer = new Trainer(model, NO_DROPOUT);
    const before = await allParameters(model);
    const big = {
      inputIds: randomRows(1, Array(64).fill(60) as number[]),
      labels: randomRows(2, Array(64).fill(60) as number[]),
    };
    const controller = new AbortController();
    const running = trainer.step(big, { signal: controller.signal });
    setImmediate(() => {
      controller.abort('stop');
    });
    expect(await errorOf(() => running)).toMatchObject({ code: 'ABORTED', cause: 'stop' });
    const late = trainer.step(big, { signal: AbortSignal.abort() });
    expect((await errorOf(() => late)).code).toBe('ABORTED');
    expect(await allParameters(model)).toEqual(before);
    expect(trainer.stepCount).toBe(0);
    await model.dispose();
  });
});

describe('a trainer refuses', () => {
  test.each<[string, object, string]>([
    ['no optimizer', {}, 'optimizer'],
    ['an unknown optimizer', { optimizer: { type: 'sgd', learningRate: 1 } }, 'optimizer.type'],
    ['no learning rate', { optimizer: { type: 'adamw' } }, 'optimizer.learningRate'],
    ['a negative rate', { optimizer: { ...ADAMW, learningRate: -1 } }, 'optimizer.learningRate'],
    ['a beta of 1', { optimizer: { ...ADAMW, beta1: 1 } }, 'optimizer.beta1'],
    ['one beta', { optimizer: { ...ADAMW, betas: [0.9] } }, 'optimizer.betas'],
    ['epsilon 0', { optimizer: { ...ADAMW, epsilon: 0 } }, 'optimizer.epsilon'],
    ['an option of Adafactor', { optimizer: { ...ADAMW, decayRate: -0.8 } }, 'optimizer.decayRate'],
    ['an unknown schedule', { optimizer: ADAMW, schedule: { type: 'cosine' } }, 'schedule.type'],
    ['a schedule without type', { optimizer: ADAMW, schedule: { totalSteps: 3 } }, 'schedule.type'],
    ['accumulate 0', { optimizer: ADAMW, accumulate: 0 }, 'accumulate'],
    ['dropout 1', { optimizer: ADAMW, dropout: 1 }, 'dropout'],
    ['merge weights that are not there', { optimizer: ADAMW, trainable: 'merge' }, 'trainable'],
    ['an unknown preset', { preset: 'fast' }, 'preset'],
  ])('%s', async (_name, options, field) => {
    const model = await tinyModel();
    const work = () => new Trainer(model, options);
    expect(await failureOf(work)).toEqual({ code: 'INVALID_ARGUMENT', field });
    await model.dispose();
  });

  test('a batch without labels, and something that is no model', async () => {
    const model = await tinyModel();
    const trainer = new Trainer(model, { preset: 'paper', schedule: { type: 'constant' } });
    const batch = { inputIds: [[1]] } as unknown as TrainingBatch;
    expect((await errorOf(() => trainer.step(batch))).field).toBe('labels');
    const work = () => new Trainer({} as Model, { preset: 'paper' });
    expect((await errorOf(work)).field).toBe('model');
    await model.dispose();
  });

  test('stepping on a linear schedule without an end', async () => {
    const model = await tinyModel();
    const trainer = new Trainer(model, { preset: 'paper' });
    expect((await errorOf(() => trainer.step(tinyBatch()))).field).toBe('schedule.totalSteps');
    await model.dispose();
  });
});

test('after dispose, the trainer is unusable and the model is not', async () => {
  const model = await tinyModel();
  const trainer = new Trainer(model, NO_DROPOUT);
  await trainer.step(tinyBatch());
  await trainer.dispose();
  await trainer.dispose();
  expect((await errorOf(() => trainer.step(tinyBatch()))).code).toBe('DISPOSED');
  expect((await model.forward(tinyBatch())).loss).toBeGreaterThan(0);
  await model.dispose();
});
