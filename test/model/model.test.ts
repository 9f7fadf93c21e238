import { describe, expect, test } from '@jest/globals';
import {
  createModel,
  Engine,
  loadModel,
  Trainer,
  type CreateModelOptions,
} from '../../src/index.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { goldenModelDirectory } from '../support/golden.ts';
import { tinyBatch, tinyModel, TINY_V10 } from '../support/tiny-model.ts';

const NORM = 'decoder.final_layer_norm.weight';

describe('parameters', () => {
  test('have names, shapes and a count', async () => {
    const model = await tinyModel();
    const parameters = model.parameters();
    expect(parameters.get('shared.weight')).toEqual({ shape: [40, 16], dtype: 'float32' });
    let count = 0;
    for (const { shape } of parameters.values()) count += shape.reduce((a, b) => a * b, 1);
    expect(model.parameterCount).toBe(count);
    expect(model.device).toBe('cpu');
    await model.dispose();
  });

  test('can be read and replaced', async () => {
    const model = await tinyModel();
    const before = await model.readParameter(NORM);
    expect(before.shape).toEqual([16]);
    const value = { data: before.data.map((x, i) => 2 * x + i), shape: [16] };
    const input = { inputIds: [[3, 1]], decoderInputIds: [[0]] };
    const logits = (await model.forward(input)).logits.data;
    await model.writeParameter(NORM, value);
    expect(await model.readParameter(NORM)).toEqual(value);
    expect((await model.forward(input)).logits.data).not.toEqual(logits);
    await model.writeParameter(NORM, before);
    expect((await model.forward(input)).logits.data).toEqual(logits);
    await model.dispose();
  });

  test('are refused with another name or shape', async () => {
    const model = await tinyModel();
    const data = new Float32Array(16);
    expect(await failureOf(() => model.readParameter('missing'))).toEqual({
      code: 'INVALID_ARGUMENT',
      field: 'name',
    });
    const fieldOf = async (value: unknown) =>
      (await errorOf(() => model.writeParameter(NORM, value as never))).field;
    expect(await fieldOf({ data, shape: [4, 4] })).toBe('value.shape');
    expect(await fieldOf({ data: new Float32Array(15), shape: [16] })).toBe('value.data');
    expect(await fieldOf({ data: [1, 2], shape: [16] })).toBe('value.data');
    expect(await fieldOf(undefined)).toBe('value.data');
    await model.dispose();
  });
});

describe('createModel', () => {
  test('gives the same weights for the same seed alone', async () => {
    const models = await Promise.all(
      [1, 1, 2].map((seed) => createModel({ ...TINY_V10 }, { seed })),
    );
    const [a, b, c] = await Promise.all(
      models.map((model) => model.readParameter('shared.weight')),
    );
    expect(a).toEqual(b);
    expect(a).not.toEqual(c);
    await Promise.all(models.map((model) => model.dispose()));
  });

  test.each<[string, Record<string, unknown>, CreateModelOptions | object, string, string]>([
    ['a bad size', { d_model: 0 }, {}, 'INVALID_ARGUMENT', 'config.d_model'],
    ['another architecture', { model_type: 'bart' }, {}, 'UNSUPPORTED', 'model_type'],
    ['a model beyond memory', { d_ff: 1 << 20, d_model: 1 << 18 }, {}, 'OUT_OF_MEMORY', 'config'],
    ['a device that is not there', {}, { device: 'cuda' }, 'UNSUPPORTED', 'device'],
    ['an unknown device', {}, { device: 'tpu' }, 'INVALID_ARGUMENT', 'device'],
    ['an unknown type', {}, { dtype: 'float64' }, 'INVALID_ARGUMENT', 'dtype'],
    ['a type of GPUs alone', {}, { device: 'cpu', dtype: 'float16' }, 'UNSUPPORTED', 'dtype'],
    ['an unknown option', {}, { sed: 1 }, 'INVALID_ARGUMENT', 'sed'],
    ['a negative seed', {}, { seed: -1 }, 'INVALID_ARGUMENT', 'seed'],
  ])('refuses %s', async (_name, config, options, code, field) => {
    const work = createModel({ ...TINY_V10, ...config }, options);
    expect(await failureOf(() => work)).toEqual({ code, field });
  });

  test('says which types there are, and which of them the CPU computes in', async () => {
    const dtype = 'float64' as 'float32';
    expect(await errorOf(() => createModel({ ...TINY_V10 }, { dtype }))).toMatchObject({
      allowed: "'float32' | 'float16' | 'bfloat16' | 'int8' | 'auto'",
    });
    const onCpu = createModel({ ...TINY_V10 }, { device: 'cpu', dtype: 'float16' });
    expect(await errorOf(() => onCpu)).toMatchObject({
      message: 'the cpu backend computes in float32, bfloat16 or int8, not in float16',
      allowed: "'float32' | 'bfloat16' | 'int8'",
    });
  });
});

describe('loadModel', () => {
  test('reports progress up to the end and stops when aborted', async () => {
    const calls: [number, number][] = [];
    const directory = goldenModelDirectory('t5-mha');
    const model = await loadModel(directory, {
      onProgress: (done, total) => calls.push([done, total]),
    });
    const total = model.parameters().size;
    expect(calls.at(-1)).toEqual([total, total]);
    await model.dispose();
    const aborted = loadModel(directory, { signal: AbortSignal.abort() });
    expect((await errorOf(() => aborted)).code).toBe('ABORTED');
  });

  test('refuses float16 on the CPU, not the first use of the model', async () => {
    const directory = goldenModelDirectory('t5-mha');
    const work = loadModel(directory, { device: 'cpu', dtype: 'float16' });
    expect(await failureOf(() => work)).toEqual({ code: 'UNSUPPORTED', field: 'dtype' });
  });

  test('refuses a directory that is no string', async () => {
    const work = loadModel(undefined as unknown as string);
    expect(await failureOf(() => work)).toEqual({ code: 'INVALID_ARGUMENT', field: 'directory' });
  });
});

test('after dispose, the model and everything made from it is unusable', async () => {
  const model = await tinyModel();
  const engine = new Engine(model);
  const trainer = new Trainer(model, { preset: 'sound' });
  await engine.generate({ inputIds: [3, 1] });
  await Promise.all([model.dispose(), model.dispose()]);
  await model.dispose();
  const uses: (() => unknown)[] = [
    () => model.forward({ inputIds: [[1]] }),
    () => model.readParameter(NORM),
    () => model.writeParameter(NORM, { data: new Float32Array(16), shape: [16] }),
    () => model.convert({ preset: 'GQA' }),
    () => model.fold(),
    () => model.save('/nowhere'),
    () => model.memoryBytes(),
    () => new Engine(model),
    () => new Trainer(model, { preset: 'sound' }),
    () => engine.generate({ inputIds: [3, 1] }),
    () => engine.stream({ inputIds: [3, 1] }).next(),
    () => engine.stats(),
    () => trainer.step(tinyBatch()),
    () => trainer.gradients(tinyBatch()),
    () => trainer.save('/nowhere'),
  ];
  for (const use of uses) expect((await errorOf(use)).code).toBe('DISPOSED');
  await engine.close();
  await trainer.dispose();
});

test('dispose waits for running work', async () => {
  const model = await tinyModel();
  const running = model.forward(tinyBatch());
  await model.dispose();
  expect((await running).loss).toBeGreaterThan(0);
});
