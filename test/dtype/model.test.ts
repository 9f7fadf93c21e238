/** `dtype: 'auto'` of models, and what says so. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { chooseDtype, createModel, loadModel } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { failureOf } from '../support/errors.ts';
import { TINY_V10 } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();
const CPU = { device: 'cpu' } as const;
const AUTO = { ...CPU, dtype: 'auto' } as const;

const before = process.env['XDG_CACHE_HOME'];
beforeAll(() => {
  process.env['XDG_CACHE_HOME'] = newDirectory();
});
afterAll(() => {
  if (before === undefined) delete process.env['XDG_CACHE_HOME'];
  else process.env['XDG_CACHE_HOME'] = before;
});

async function saved(dtype: 'float32' | 'bfloat16', convert = false): Promise<string> {
  await using model = await createModel(TINY_V10, CPU);
  const directory = newDirectory();
  if (!convert) {
    await model.save(directory, { dtype });
    return directory;
  }
  await using converted = await model.convert({ kvHeads: 2, merge: 'weighted' });
  await converted.save(directory, { dtype });
  return directory;
}

describe('a loaded model', () => {
  test('of a float32 file computes in float32, and says why', async () => {
    await using model = await loadModel(await saved('float32'), AUTO);
    expect(model.dtype).toBe('float32');
    expect(model.dtypeChoice).toMatchObject({ dtype: 'float32', admitted: ['float32'] });
    expect(model.dtypeChoice?.measured).toBeUndefined();
  });

  test.each([false, true])(
    'of a bfloat16 file may compute in it (converted: %s)',
    async (convert) => {
      await using model = await loadModel(await saved('bfloat16', convert), AUTO);
      expect(model.dtypeChoice?.admitted).toEqual(['float32', 'bfloat16']);
      expect(Object.keys(model.dtypeChoice?.measured ?? {})).toContain('bfloat16');
      expect(model.dtypeChoice?.dtype).toBe(model.dtype);
    },
  );

  test('has float32 without a word, and no choice', async () => {
    await using model = await loadModel(await saved('bfloat16'), CPU);
    expect(model.dtype).toBe('float32');
    expect(model.dtypeChoice).toBeUndefined();
  });

  test('hands its choice on to what is derived from it', async () => {
    await using model = await createModel(TINY_V10, { ...AUTO, accuracy: 'int8' });
    await using grouped = await model.convert({ kvHeads: 2, merge: 'weighted' });
    await using folded = await grouped.fold();
    expect(grouped.dtypeChoice).toEqual(model.dtypeChoice);
    expect(folded.dtypeChoice).toEqual(model.dtypeChoice);
    expect(folded.dtype).toBe(model.dtypeChoice?.dtype);
  });
});

test('chooseDtype says what loadModel would choose', async () => {
  const directory = await saved('bfloat16');
  const options = { accuracy: 'int8', expectedBatch: 2 } as const;
  const choice = await chooseDtype(directory, { ...CPU, ...options });
  await using model = await loadModel(directory, { ...AUTO, ...options });
  expect(choice).toEqual(model.dtypeChoice);
  expect(choice).toMatchObject({ expectedBatch: 2, device: 'cpu' });
});

describe('refused', () => {
  test.each([
    ['accuracy without auto', { accuracy: 'int8' }, 'accuracy'],
    ['a batch without auto', { expectedBatch: 2, dtype: 'int8' }, 'expectedBatch'],
    ['an unknown accuracy', { dtype: 'auto', accuracy: 'float16' }, 'accuracy'],
    ['no rows', { dtype: 'auto', expectedBatch: 0 }, 'expectedBatch'],
    ['too many rows', { dtype: 'auto', expectedBatch: 1025 }, 'expectedBatch'],
    ['half a row', { dtype: 'auto', expectedBatch: 1.5 }, 'expectedBatch'],
  ])('%s', async (_, options, field) => {
    const expected = { code: 'INVALID_ARGUMENT', field };
    const work = () => createModel(TINY_V10, options as object);
    expect(await failureOf(work)).toEqual(expected);
    const directory = await saved('float32');
    expect(await failureOf(() => loadModel(directory, options as object))).toEqual(expected);
  });

  test('an aborted choice', async () => {
    const directory = await saved('bfloat16');
    const work = () => loadModel(directory, { ...AUTO, signal: AbortSignal.abort() });
    expect(await failureOf(work)).toMatchObject({ code: 'ABORTED' });
    const choosing = () => chooseDtype(directory, { ...CPU, signal: AbortSignal.abort() });
    expect(await failureOf(choosing)).toMatchObject({ code: 'ABORTED' });
  });

  test('a choice for what is no checkpoint', async () => {
    expect(await failureOf(() => chooseDtype(newDirectory()))).toMatchObject({ code: 'NOT_FOUND' });
    expect(await failureOf(() => chooseDtype(''))).toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});
