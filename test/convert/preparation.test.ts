/** What grouping, alignment and least squares do to a model, and calibration as their input. */
import { afterAll, describe, expect, test } from '@jest/globals';
import { createModel, type ConvertOptions, type Model } from '../../src/index.ts';
import { CALIBRATION, logitsOf, parametersNamed, valuesOf } from '../support/conversions.ts';
import { errorOf } from '../support/errors.ts';
import { expectClose, relativeError } from '../support/tensors.ts';
import { randomRows, tinyBatch, tinyModel, TINY_V10 } from '../support/tiny-model.ts';

// Rotated and reordered in double, stored in float32: as any sum in another order.
const ROUNDING = 1e-5;
const ALL_MODULES = ['decoder.self', 'decoder.cross', 'encoder.self'] as const;
const OTHER_CALIBRATION = [tinyBatch(31)];

const model = await tinyModel();
const expected = await logitsOf(model);

afterAll(async () => {
  await model.dispose();
});

describe('without a merge, preparing heads changes no logits', () => {
  test.each<[string, ConvertOptions]>([
    ['similar heads', { grouping: 'similarity' }],
    ['aligned', { alignment: 'orthogonal' }],
    [
      'both, by a calibration',
      { grouping: 'similarity', alignment: 'orthogonal', calibration: CALIBRATION },
    ],
    ['both, weighted', { grouping: 'similarity', alignment: 'orthogonal', merge: 'weighted' }],
    ['expanded', { expansion: true }],
  ])('%s', async (_name, options) => {
    await using converted = await model.convert({
      kvHeads: 4,
      merge: 'mean',
      modules: ALL_MODULES,
      ...options,
    });
    expectClose('logits', await logitsOf(converted), expected, ROUNDING);
  });

  test('and its result is multi-head: it can be converted', async () => {
    await using prepared = await model.convert({
      kvHeads: 4,
      merge: 'mean',
      grouping: 'similarity',
    });
    expect(prepared.config).toEqual(model.config);
    await using pooled = await prepared.convert({ kvHeads: 2, merge: 'mean' });
    expect(pooled.config.num_key_value_heads).toBe(2);
  });
});

describe('heads 0 and 2, and 1 and 3, of every K and V are the same', () => {
  test('grouped by similarity they lose nothing, as neighbours they do', async () => {
    await using twins = await modelOfTwins();
    const whole = await logitsOf(twins);
    const errorOfPooling = async (options: ConvertOptions): Promise<number> => {
      const pooling = { kvHeads: 2, merge: 'mean', modules: ALL_MODULES, ...options } as const;
      await using pooled = await twins.convert(pooling);
      return relativeError((await logitsOf(pooled)).data, whole.data);
    };
    expect(await errorOfPooling({ grouping: 'similarity' })).toBeLessThan(ROUNDING);
    const calibrated = { grouping: 'similarity', calibration: CALIBRATION } as const;
    expect(await errorOfPooling(calibrated)).toBeLessThan(ROUNDING);
    const weighted = { ...calibrated, merge: 'weighted', init: 'least-squares' } as const;
    expect(await errorOfPooling(weighted)).toBeLessThan(ROUNDING);
    expect(await errorOfPooling({})).toBeGreaterThan(1e-2);
  });
});

async function modelOfTwins(): Promise<Model> {
  const twins = await tinyModel();
  const headSize = TINY_V10.d_kv * TINY_V10.d_model;
  for (const name of parametersNamed(twins, 'Attention.k.weight', 'Attention.v.weight')) {
    const { data, shape } = await twins.readParameter(name);
    data.copyWithin(2 * headSize, 0, 2 * headSize);
    await twins.writeParameter(name, { data, shape });
  }
  return twins;
}

describe('least squares', () => {
  const weightsFor = async (options: ConvertOptions): Promise<Float32Array[]> => {
    await using converted = await model.convert({
      kvHeads: 2,
      merge: 'weighted',
      modules: ALL_MODULES,
      ...options,
    });
    return await valuesOf(converted, parametersNamed(converted, '.merge_weight'));
  };
  const leastSquares = { init: 'least-squares', calibration: CALIBRATION } as const;

  test('start elsewhere than at the mean, the same for the same text', async () => {
    const weights = await weightsFor(leastSquares);
    expect(weights).toHaveLength(16);
    for (const values of weights) {
      expect(values.every(Number.isFinite)).toBe(true);
      expect(values.some((value) => Math.abs(value - 0.5) > 1e-3)).toBe(true);
    }
    expect(await weightsFor(leastSquares)).toEqual(weights);
    const other = await weightsFor({ ...leastSquares, calibration: OTHER_CALIBRATION });
    expect(other).not.toEqual(weights);
  });

  test('leave groups of one head as they are', async () => {
    for (const values of await weightsFor({ ...leastSquares, kvHeads: 4 })) {
      for (const value of values) expect(value).toBeCloseTo(1, 5);
    }
  });
});

describe('calibration', () => {
  test('may be any iterable, each batch with or without padding', async () => {
    const options = { kvHeads: 2, merge: 'weighted', init: 'least-squares' } as const;
    const padded = {
      inputIds: [
        [5, 6, 7, 1],
        [8, 1, 0, 0],
      ],
      attentionMask: [
        [1, 1, 1, 1],
        [1, 1, 0, 0],
      ],
      labels: [
        [4, 1],
        [9, 1],
      ],
    };
    const ragged = {
      ...padded,
      inputIds: [
        [5, 6, 7, 1],
        [8, 1],
      ],
      attentionMask: undefined,
    };
    const weights = [];
    for (const batch of [padded, ragged]) {
      const calibration = (function* () {
        yield batch as typeof padded;
      })();
      await using converted = await model.convert({ ...options, calibration });
      weights.push(await valuesOf(converted, parametersNamed(converted, '.merge_weight')));
    }
    expect(weights[1]).toEqual(weights[0]);
  });

  test('whose text overflows in the model is refused', async () => {
    await using broken = await tinyModel();
    const name = 'encoder.block.0.layer.1.DenseReluDense.wo.weight';
    const { data, shape } = await broken.readParameter(name);
    await broken.writeParameter(name, { data: data.fill(3e38), shape });
    const work = () =>
      broken.convert({
        kvHeads: 2,
        merge: 'mean',
        grouping: 'similarity',
        calibration: CALIBRATION,
      });
    expect(await errorOf(work)).toMatchObject({ code: 'NON_FINITE', field: 'calibration' });
  });
});

describe('an abort', () => {
  const calibration = Array.from({ length: 64 }, (_, i) => ({
    inputIds: randomRows(i, [90, 80, 70, 60]),
    labels: randomRows(100 + i, [60, 70, 80, 90]),
  }));
  const options = { kvHeads: 2, merge: 'weighted', init: 'least-squares', calibration } as const;

  test('before a conversion, and in the middle of one, leaves the model as it was', async () => {
    await using large = await createModel({ ...TINY_V10, d_model: 64 }, { seed: 7 });
    const before = await logitsOf(large);
    const early = () => large.convert(options, { signal: AbortSignal.abort('early') });
    expect(await errorOf(early)).toMatchObject({ code: 'ABORTED', cause: 'early' });
    const abort = new AbortController();
    const work = large.convert(options, { signal: abort.signal });
    abort.abort('midway');
    expect(await errorOf(() => work)).toMatchObject({ code: 'ABORTED', cause: 'midway' });
    expect(await logitsOf(large)).toEqual(before);
    await using converted = await large.convert({ kvHeads: 2, merge: 'mean' });
    expect(converted.config.num_key_value_heads).toBe(2);
  });
});
