/** Conversion options that do not fit the model, its text or each other. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { BY_LAYER, CALIBRATION } from '../support/conversions.ts';
import { errorOf } from '../support/errors.ts';
import { tinyBatch, tinyModel } from '../support/tiny-model.ts';

const model = await tinyModel();

afterAll(async () => {
  await model.dispose();
});

/** JavaScript may pass anything. */
async function convert(options: object): Promise<void> {
  const converted = await model.convert(options);
  await converted.dispose();
}

async function expectRefused(options: object, field: string): Promise<void> {
  const error = await errorOf(() => convert(options));
  expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  expect(error.allowed).toBeTruthy();
  expect(error.message).toContain(field);
}

const MEAN = { kvHeads: 2, merge: 'mean' } as const;
const LEAST_SQUARES = {
  kvHeads: 2,
  merge: 'weighted',
  init: 'least-squares',
  calibration: CALIBRATION,
} as const;

test.each<[string, object, string]>([
  ['an unknown constraint', { ...MEAN, constraint: 'tanh' }, 'constraint'],
  ['an unknown grouping', { ...MEAN, grouping: 'random' }, 'grouping'],
  ['an unknown alignment', { ...MEAN, alignment: true }, 'alignment'],
  ['an expansion that is no boolean', { ...MEAN, expansion: 1 }, 'expansion'],
  ['least squares without text', { ...LEAST_SQUARES, calibration: undefined }, 'calibration'],
  ['least squares by row', { ...LEAST_SQUARES, granularity: 'row' }, 'init'],
  ['least squares by column', { ...LEAST_SQUARES, granularity: 'column' }, 'init'],
  ['least squares under softmax', { ...LEAST_SQUARES, constraint: 'softmax' }, 'init'],
  ['least squares under signed sums', { ...LEAST_SQUARES, constraint: 'signed' }, 'init'],
  ['similar heads by layer', { ...MEAN, kvHeads: BY_LAYER, grouping: 'similarity' }, 'kvHeads'],
])('%s', (_name, options, field) => expectRefused(options, field));

describe('heads by layer', () => {
  test.each<[string, unknown]>([
    ['none', {}],
    ['too few', { 'decoder.self': [2, 2] }],
    ['too many', { 'decoder.cross': [2, 2, 2, 2] }],
    ['no divisor', { 'decoder.self': [2, 3, 2] }],
    ['zero', { 'decoder.self': [2, 0, 2] }],
    ['a hole', { 'decoder.self': new Array(3) }],
    ['no array', { 'decoder.self': 2 }],
    ['a typed array', { 'decoder.self': Int32Array.of(1, 2, 4) }],
    ['an unknown module', { 'decoder.left': [1, 2, 4] }],
    ["the encoder's", { 'encoder.self': [2, 2] }],
    ['one module of two', { 'decoder.self': [1, 2, 4], 'decoder.cross': undefined }],
    ['an array', [[1, 2, 4]]],
    ['null', null],
  ])('%s', (_name, kvHeads) => expectRefused({ merge: 'mean', kvHeads }, 'kvHeads'));

  test.each([[['decoder.cross']], [['decoder.self', 'decoder.cross']], [['encoder.self']]])(
    'of self-attention with modules %j',
    (modules) =>
      expectRefused({ merge: 'mean', kvHeads: { 'decoder.self': [1, 2, 4] }, modules }, 'modules'),
  );
});

describe('calibration', () => {
  const good = tinyBatch();
  test.each<[string, unknown, string]>([
    ['a number', 5, 'calibration'],
    ['text', 'abc', 'calibration'],
    ['null', null, 'calibration'],
    ['an asynchronous iterable', { [Symbol.asyncIterator]: () => ({}) }, 'calibration'],
    ['no batches', [], 'calibration'],
    ['a batch that is none', [good, 5], 'calibration[1]'],
    ['no labels', [{ inputIds: [[1]] }], 'calibration[0].labels'],
    ['undefined labels', [{ inputIds: [[1]], labels: undefined }], 'calibration[0].labels'],
    ['ignored labels alone', [{ inputIds: [[1]], labels: [[-100]] }], 'calibration[0].labels'],
    ['no sources', [good, { labels: [[1]] }], 'calibration[1].inputIds'],
    ['an id too large', [good, { ...good, inputIds: [[40]] }], 'calibration[1].inputIds[0][0]'],
    ['a label below zero', [{ inputIds: [[1]], labels: [[-1]] }], 'calibration[0].labels[0][0]'],
    ['fewer labels', [{ ...good, labels: [[1]] }], 'calibration[0].labels'],
  ])('%s', (_name, calibration, field) => expectRefused({ ...MEAN, calibration }, field));

  test('what an iterable throws is thrown', async () => {
    const calibration = {
      [Symbol.iterator]: () => {
        throw new RangeError('mine');
      },
    };
    await expect(convert({ ...MEAN, calibration })).rejects.toThrow(new RangeError('mine'));
  });
});

test('what a mean does not use is not asked for', async () => {
  await convert({ ...MEAN, init: 'least-squares' });
  await convert({ ...MEAN, init: 'least-squares', granularity: 'row', constraint: 'softmax' });
});

test('folding pooled heads that are not expanded', async () => {
  await using pooled = await model.convert({ merge: 'mean', kvHeads: BY_LAYER });
  expect((await pooled.fold()).config).toEqual(pooled.config);
  expect((await errorOf(() => pooled.convert(MEAN))).code).toBe('ALREADY_CONVERTED');
  await using expanded = await model.convert({ ...MEAN, expansion: true });
  await using folded = await expanded.fold();
  await using again = await folded.fold();
  expect(again.config).toEqual(folded.config);
});
