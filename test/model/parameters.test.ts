/** Reading and writing parameters while other work on them is under way. */
import { expect, test } from '@jest/globals';
import { createModel, loadModel, Trainer, type Model, type Tensor } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { tinyBatch, tinyModel, TINY_V10 } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();
const NAME = 'shared.weight';
const OPTIONS = { optimizer: { type: 'adamw', learningRate: 1e-2 } } as const;
const BATCH = {
  ...tinyBatch(),
  labels: [
    [5, 1],
    [6, 1],
    [7, 1],
  ],
} as never;

async function allParameters(model: Model): Promise<Map<string, Tensor>> {
  const found = new Map<string, Tensor>();
  for (const name of model.parameters().keys()) found.set(name, await model.readParameter(name));
  return found;
}

test.each(['change', 'transfer'])(
  'a write has the values of its call, whatever becomes of the buffer: %s',
  async (way) => {
    await using model = await tinyModel();
    const { shape } = await model.readParameter(NAME);
    const data = new Float32Array(shape.reduce((a, b) => a * b)).fill(1);
    const optimizer = { type: 'adamw', learningRate: 0 } as const;
    await using trainer = new Trainer(model, { optimizer });
    // The write waits for them, or they for it.
    const steps = [trainer.step(BATCH), trainer.step(BATCH)];
    const written = model.writeParameter(NAME, { data, shape });
    if (way === 'change') data.fill(2);
    else structuredClone(data.buffer, { transfer: [data.buffer] });
    await Promise.all([...steps, written]);
    const read = await model.readParameter(NAME);
    expect(new Set(read.data)).toEqual(new Set([1]));
  },
);

test('a save holds the parameters of one step', async () => {
  await using model = await tinyModel();
  await using trainer = new Trainer(model, { ...OPTIONS, dropout: 0 });
  const states = [await allParameters(model)];
  const directory = newDirectory();
  await trainer.step(BATCH);
  states.push(await allParameters(model));
  const saved = model.save(directory);
  for (let step = 0; step < 20; ++step) await trainer.step(BATCH);
  await saved;
  await using loaded = await loadModel(directory);
  expect(await allParameters(loaded)).toEqual(states[1]);
});

test('a step that waits for a save, and the save, end when they are aborted', async () => {
  await using model = await tinyModel();
  await using trainer = new Trainer(model, OPTIONS);
  const save = model.save(newDirectory());
  const controller = new AbortController();
  const step = trainer.step(BATCH, { signal: controller.signal });
  controller.abort(new Error('no more'));
  expect((await errorOf(() => step)).code).toBe('ABORTED');
  await save;
  expect(trainer.stepCount).toBe(0);
  const signal = AbortSignal.abort();
  expect((await errorOf(() => model.save(newDirectory(), { signal }))).code).toBe('ABORTED');
  expect((await errorOf(() => model.fold({ signal }))).code).toBe('ABORTED');
  expect((await errorOf(() => createModel(TINY_V10, { signal }))).code).toBe('ABORTED');
  expect(await trainer.step(BATCH)).toMatchObject({ loss: expect.any(Number) });
});

test('a folded model without weights to fold shares its parameters until one is trained', async () => {
  await using model = await tinyModel();
  await using folded = await model.fold();
  expect(folded.config).toEqual(model.config);
  const before = await folded.readParameter(NAME);
  expect(before).toEqual(await model.readParameter(NAME));
  await using trainer = new Trainer(model, OPTIONS);
  await trainer.step(BATCH);
  expect(await folded.readParameter(NAME)).toEqual(before);
  expect(await model.readParameter(NAME)).not.toEqual(before);
});

test.each(['bfloat16', 'float16', 'float32'] as const)(
  'what comes of a checkpoint in %s is saved in its type, unless told otherwise',
  async (dtype) => {
    const [stored, folded, wide] = [newDirectory(), newDirectory(), newDirectory()];
    await using original = await tinyModel();
    await original.save(stored, { dtype });
    await using model = await loadModel(stored);
    await using converted = await model.convert({ kvHeads: 2, merge: 'weighted' });
    await using trainer = new Trainer(converted, OPTIONS);
    await trainer.step(BATCH);
    await using plain = await converted.fold();
    await plain.save(folded);
    await plain.save(wide, { dtype: 'float32' });
    const dtypesOf = async (directory: string): Promise<Set<string>> => {
      await using loaded = await loadModel(directory);
      return new Set([...loaded.parameters().values()].map((info) => info.dtype));
    };
    expect(await dtypesOf(folded)).toEqual(new Set([dtype]));
    expect(await dtypesOf(wide)).toEqual(new Set(['float32']));
  },
);

/* eslint-disable no-sparse-arrays -- they are what is refused */
test('arguments that are none are typed errors', async () => {
  await using model = await tinyModel();
  const { shape } = await model.readParameter(NAME);
  const refused = (field: string) => ({ code: 'INVALID_ARGUMENT', field });
  const data = new Float32Array(1);
  const write = (value: unknown) => failureOf(() => model.writeParameter(NAME, value as Tensor));
  expect(await write(undefined)).toEqual(refused('value'));
  expect(await write({ data, shape: [1n] })).toEqual(refused('value.shape'));
  expect(await write({ data: [1], shape })).toEqual(refused('value.data'));
  const forward = (input: unknown) => failureOf(() => model.forward(input as never));
  expect(await forward(undefined)).toEqual(refused('input'));
  expect(await forward({ inputIds: [, [1]] })).toEqual(refused('inputIds[0]'));
  expect(await forward({ inputIds: [[1, , 2]] })).toEqual(refused('inputIds[0][1]'));
  expect(await forward({ inputIds: new Array(2 ** 32 - 1) })).toEqual(refused('inputIds[0]'));
  expect(await forward({ inputIds: [new Array(2 ** 32 - 1)] })).toEqual(refused('inputIds[0][0]'));
  const empty = { data: new Int32Array(), shape: [2 ** 40, 0] };
  expect(await forward({ inputIds: empty })).toEqual(refused('inputIds.shape'));
  expect(await failureOf(() => model.save('a\0b'))).toEqual(refused('directory'));
  expect(await failureOf(() => loadModel(Object.create(null) as string))).toEqual(
    refused('directory'),
  );
  const long = { model_type: { type: 'x'.repeat(100_000) } };
  expect((await errorOf(() => createModel(long))).message.length).toBeLessThan(1000);
});

test('200,000 rows are no arguments of a function', async () => {
  await using model = await createModel({ ...TINY_V10, vocab_size: 10 });
  const inputIds = Array.from({ length: 200_000 }, () => [5]);
  const { logits } = await model.forward({ inputIds });
  expect(logits.shape).toEqual([200_000, 1, 10]);
});
