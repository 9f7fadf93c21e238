import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { kvHeadsOf, PRESETS, type Model, type PresetName, type Tensor } from '../../src/index.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { expectClose } from '../support/tensors.ts';
import { tinyBatch, tinyModel, TINY_V10, TINY_V11 } from '../support/tiny-model.ts';

// Merging and pooling sum the same numbers in another order, then three decoder layers follow.
const ROUNDING = 1e-5;

async function logitsOf(model: Model): Promise<Tensor> {
  return (await model.forward(tinyBatch())).logits;
}

const mergeNames = (model: Model): string[] =>
  [...model.parameters().keys()].filter((name) => name.endsWith('.merge_weight'));

/** Merge weights that differ everywhere, so that mixed-up heads or rows would show. */
async function randomiseMergeWeights(model: Model): Promise<void> {
  for (const [n, name] of mergeNames(model).entries()) {
    const { data, shape } = await model.readParameter(name);
    const values = data.map((_, i) => 0.5 + 0.4 * Math.sin(17 * n + 3 * i + 1));
    await model.writeParameter(name, { data: values, shape });
  }
}

describe.each([
  ['T5 v1.0', TINY_V10],
  ['T5 v1.1', TINY_V11],
])('%s', (_name, config) => {
  let model: Model;
  beforeAll(async () => {
    model = await tinyModel(config);
  });
  afterAll(async () => {
    await model.dispose();
  });

  const GRANULARITIES = ['head', 'row', 'column'] as const;

  test.each(GRANULARITIES)('mean-initialised WGQA by %s is GQA', async (granularity) => {
    for (const kvHeads of [1, 2]) {
      const gqa = await model.convert({ kvHeads, merge: 'mean' });
      const wgqa = await model.convert({ kvHeads, merge: 'weighted', granularity });
      expectClose('logits', await logitsOf(wgqa), await logitsOf(gqa), ROUNDING);
      await Promise.all([gqa.dispose(), wgqa.dispose()]);
    }
  });

  test('as many K/V heads as heads is MHA', async () => {
    const expected = await logitsOf(model);
    for (const merge of ['mean', 'weighted'] as const) {
      const converted = await model.convert({ kvHeads: 4, merge });
      expectClose(merge, await logitsOf(converted), expected, ROUNDING);
      await converted.dispose();
    }
  });

  test.each(['row', 'column'] as const)(
    'constant %s weights are scalar weights',
    async (granularity) => {
      const scalar = await model.convert({ kvHeads: 2, merge: 'weighted' });
      const vector = await model.convert({ kvHeads: 2, merge: 'weighted', granularity });
      await randomiseMergeWeights(scalar);
      for (const name of mergeNames(scalar)) {
        const { data: perHead } = await scalar.readParameter(name);
        const { data, shape } = await vector.readParameter(name);
        const width = data.length / perHead.length;
        const repeated = data.map((_, i) => perHead[Math.floor(i / width)] ?? NaN);
        await vector.writeParameter(name, { data: repeated, shape });
      }
      expectClose('logits', await logitsOf(vector), await logitsOf(scalar), ROUNDING);
      await Promise.all([scalar.dispose(), vector.dispose()]);
    },
  );

  test.each(GRANULARITIES)(
    'folding by %s keeps the logits and drops the weights',
    async (granularity) => {
      const modules = ['decoder.self', 'decoder.cross', 'encoder.self'] as const;
      const weighted = await model.convert({ kvHeads: 2, merge: 'weighted', granularity, modules });
      await randomiseMergeWeights(weighted);
      const folded = await weighted.fold();
      expectClose('logits', await logitsOf(folded), await logitsOf(weighted), ROUNDING);
      expect(mergeNames(weighted)).toHaveLength(16);
      expect(mergeNames(folded)).toEqual([]);
      const key = 'decoder.block.1.layer.1.EncDecAttention.k.weight';
      expect(weighted.parameters().get(key)?.shape).toEqual([24, 16]);
      expect(folded.parameters().get(key)?.shape).toEqual([12, 16]);
      expect(folded.config.wgqa).toBeUndefined();
      expect(folded.config.num_key_value_heads).toBe(2);
      await Promise.all([weighted.dispose(), folded.dispose()]);
    },
  );

  test('the original stays as it was', async () => {
    const before = await logitsOf(model);
    const converted = await model.convert({ preset: 'RANDWGQA' });
    expect(await logitsOf(model)).toEqual(before);
    expect(await logitsOf(converted)).not.toEqual(before);
    await converted.dispose();
  });
});

describe('presets', () => {
  let model: Model;
  beforeAll(async () => {
    model = await tinyModel();
  });
  afterAll(async () => {
    await model.dispose();
  });

  test.each(Object.keys(PRESETS) as PresetName[])('%s', async (preset) => {
    const converted = await model.convert({ preset });
    const { merge, granularity, init } = PRESETS[preset];
    const names = mergeNames(converted);
    expect(names).toHaveLength(merge === 'weighted' ? 12 : 0);
    for (const name of names) {
      const { data, shape } = await converted.readParameter(name);
      expect(shape).toEqual({ head: [4, 1, 1], row: [4, 1, 16], column: [4, 6, 1] }[granularity]);
      const kvHeads = kvHeadsOf(converted.config, 'decoder.self', 0);
      const constant = data.every((value) => value === kvHeads / 4);
      expect(constant).toBe(init === 'mean');
    }
    await converted.dispose();
  });

  test('random weights are standard normal and follow the seed', async () => {
    const options = { kvHeads: 2, merge: 'weighted', granularity: 'row', init: 'random' } as const;
    const [a, b, c] = await Promise.all(
      [1, 1, 2].map((seed) => model.convert({ ...options, seed })),
    );
    if (!a || !b || !c) throw new Error('unreachable');
    const read = async (m: Model) =>
      Promise.all(mergeNames(m).map(async (name) => (await m.readParameter(name)).data));
    const values = (await read(a)).flatMap((data) => [...data]);
    expect(await read(b)).toEqual(await read(a));
    expect(await read(c)).not.toEqual(await read(a));
    const mean = values.reduce((sum, x) => sum + x, 0) / values.length;
    const variance = values.reduce((sum, x) => sum + (x - mean) ** 2, 0) / values.length;
    // 768 draws: mean and variance are within four standard errors (0.036 and 0.051).
    expect(values).toHaveLength(768);
    expect(Math.abs(mean)).toBeLessThan(0.15);
    expect(Math.abs(variance - 1)).toBeLessThan(0.21);
    await Promise.all([a.dispose(), b.dispose(), c.dispose()]);
  });

  test('a preset can be overridden', async () => {
    const converted = await model.convert({
      preset: 'COLWGQA',
      kvHeads: 1,
      modules: ['decoder.self'],
    });
    expect(converted.config).toMatchObject({
      num_key_value_heads: 1,
      wgqa: {
        kv_heads: 1,
        merge: 'weighted',
        granularity: 'column',
        init: 'mean',
        modules: ['decoder.self'],
      },
    });
    await converted.dispose();
  });
});

test("heads alone are aligned and pooled; with a merge or preset, the rest is the paper's", async () => {
  await using model = await tinyModel();
  await using best = await model.convert({ kvHeads: 2 });
  await using spelled = await model.convert({ kvHeads: 2, merge: 'mean', alignment: 'orthogonal' });
  expect(best.config).toEqual(spelled.config);
  expect(best.config.wgqa).toMatchObject({ merge: 'mean', alignment: 'orthogonal' });
  expect(await logitsOf(best)).toEqual(await logitsOf(spelled));
  await using unaligned = await model.convert({ kvHeads: 2, alignment: 'none' });
  await using mean = await model.convert({ kvHeads: 2, merge: 'mean' });
  await using preset = await model.convert({ preset: 'GQA' });
  for (const paper of [unaligned, mean, preset]) {
    expect(paper.config.wgqa?.alignment).toBeUndefined();
    expect(await logitsOf(paper)).toEqual(await logitsOf(mean));
  }
});

describe('conversion refuses', () => {
  let model: Model;
  beforeAll(async () => {
    model = await tinyModel();
  });
  afterAll(async () => {
    await model.dispose();
  });

  test.each<[string, object, string]>([
    ['heads that do not divide', { kvHeads: 3, merge: 'mean' }, 'kvHeads'],
    ['no heads', { kvHeads: 0, merge: 'mean' }, 'kvHeads'],
    ['more heads than there are', { kvHeads: 8, merge: 'mean' }, 'kvHeads'],
    ['missing heads', { merge: 'mean' }, 'kvHeads'],
    ['options of weights without a merge', { kvHeads: 2, init: 'random' }, 'merge'],
    ['an unknown merge', { kvHeads: 2, merge: 'max' }, 'merge'],
    [
      'an unknown granularity',
      { kvHeads: 2, merge: 'weighted', granularity: 'cell' },
      'granularity',
    ],
    ['an unknown start', { kvHeads: 2, merge: 'weighted', init: 'zero' }, 'init'],
    ['an unknown preset', { preset: 'XGQA' }, 'preset'],
    ['an unknown module', { preset: 'GQA', modules: ['decoder'] }, 'modules'],
    ['no module', { preset: 'GQA', modules: [] }, 'modules'],
    ['an unknown option', { preset: 'GQA', kvheads: 2 }, 'kvheads'],
  ])('%s', async (_name, options, field) => {
    const error = await errorOf(() => model.convert(options));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
  });

  test('with the divisors that are allowed', async () => {
    const { allowed } = await errorOf(() => model.convert({ kvHeads: 3, merge: 'mean' }));
    expect(allowed).toBe(
      "a divisor of 4 (1, 2, 4), or an object with 3 of them for 'decoder.self' or 'decoder.cross'",
    );
  });

  test('converting twice, and an expanded layout of what is not folded', async () => {
    const gqa = await model.convert({ preset: 'GQA' });
    const wgqa = await model.convert({ preset: 'WGQA' });
    const folded = await wgqa.fold();
    for (const converted of [gqa, wgqa, folded]) {
      const { code } = await errorOf(() => converted.convert({ preset: 'MQA' }));
      expect(code).toBe('ALREADY_CONVERTED');
    }
    const work = wgqa.save('/tmp/never-written', { layout: 'expanded' });
    expect(await failureOf(() => work)).toEqual({ code: 'INVALID_ARGUMENT', field: 'layout' });
    await Promise.all([gqa.dispose(), wgqa.dispose(), folded.dispose()]);
  });

  test('halving an odd number of heads', async () => {
    const odd = await tinyModel({ ...TINY_V10, num_heads: 3 });
    expect(await failureOf(() => odd.convert({ preset: 'GQA' }))).toEqual({
      code: 'INVALID_ARGUMENT',
      field: 'kvHeads',
    });
    await odd.dispose();
  });
});
