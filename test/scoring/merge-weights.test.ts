import { afterAll, describe, expect, test } from '@jest/globals';
import { kvHeadsOf, type ConvertOptions, type Model } from '../../src/index.ts';
import { countConversionWeights, readMergeWeights } from '../../src/scoring/merge-weights.ts';
import { BY_LAYER } from '../support/conversions.ts';
import { mergeHeads } from '../support/t5-float64.ts';
import { expectClose } from '../support/tensors.ts';
import { tinyModel, TINY_V10 } from '../support/tiny-model.ts';

// One merge, in another order.
const TOLERANCE = 1e-5;
const K = 'decoder.block.0.layer.0.SelfAttention.k';

const model = await tinyModel();

afterAll(async () => {
  await model.dispose();
});

/** What is read of the first K after its raw weights, one per head, became these. */
async function weightsOf(constraint: 'softmax' | 'signed', raw: readonly number[]) {
  await using converted = await model.convert({ kvHeads: 2, merge: 'weighted', constraint });
  const data = Float32Array.from(raw);
  await converted.writeParameter(`${K}.merge_weight`, { data, shape: [4, 1, 1] });
  const [first] = await readMergeWeights(converted);
  return first;
}

describe('weights of heads, by hand', () => {
  test('softmax', async () => {
    const first = await weightsOf('softmax', [0, Math.log(3), 2, 2]);
    const described = { layer: 0, module: 'decoderSelf', projection: 'k', granularity: 'head' };
    expect(first).toMatchObject({ ...described, initial: 0.5 });
    [0.25, 0.75, 0.5, 0.5].forEach((weight, i) => {
      expect(first?.values[i]).toBeCloseTo(weight, 6);
    });
  });

  test('softmax of what exp cannot hold', async () => {
    const first = await weightsOf('softmax', [1000, 1000, -1000, -2000]);
    expect(first?.values).toEqual([0.5, 0.5, 1, 0]);
  });

  test('signed, with a group of nothing', async () => {
    const first = await weightsOf('signed', [1, -3, 0, 0]);
    expect(first?.values).toEqual([0.25, -0.75, 0, 0]);
  });
});

describe('the weights that are read make the matrices of the folded model', () => {
  const combinations = (['head', 'row', 'column'] as const).flatMap((granularity) =>
    (['none', 'softmax', 'signed'] as const).map((constraint) => ({ granularity, constraint })),
  );
  test.each(combinations)('$granularity, $constraint', async ({ granularity, constraint }) => {
    const random = { merge: 'weighted', init: 'random', granularity, constraint } as const;
    await using unfolded = await model.convert({ kvHeads: BY_LAYER, ...random });
    await using folded = await unfolded.fold();
    const groups = await readMergeWeights(unfolded);
    expect(groups).toHaveLength(2 * 2 * TINY_V10.num_decoder_layers);
    for (const { layer, module, projection, values, initial } of groups) {
      expect(initial).toBe('random');
      const self = module === 'decoderSelf';
      const place = self ? '0.SelfAttention' : '1.EncDecAttention';
      const name = `decoder.block.${layer}.layer.${place}.${projection}`;
      const { data, shape } = await unfolded.readParameter(`${name}.weight`);
      const heads = { rows: shape[0]!, columns: shape[1]!, data: Float64Array.from(data) };
      const kvHeads = kvHeadsOf(unfolded.config, self ? 'decoder.self' : 'decoder.cross', layer);
      const { shape: weightShape } = unfolded.parameters().get(`${name}.merge_weight`)!;
      const merged = mergeHeads({ ...unfolded.config, num_key_value_heads: kvHeads }, heads, {
        data: values,
        shape: weightShape,
      });
      const expected = {
        data: Float32Array.from(merged.data),
        shape: [merged.rows, merged.columns],
      };
      expectClose(name, await folded.readParameter(`${name}.weight`), expected, TOLERANCE);
    }
  });
});

describe('the start', () => {
  const initialsOf = async (options: ConvertOptions): Promise<unknown[]> => {
    await using converted = await model.convert({ merge: 'weighted', ...options });
    return (await readMergeWeights(converted)).map(({ initial }) => initial);
  };

  test('at the mean is that of the layer', async () => {
    const kvHeads = { 'decoder.self': [1, 2, 4] };
    expect(await initialsOf({ kvHeads })).toEqual([0.25, 0.25, 0.5, 0.5, 1, 1]);
    const softmax = await initialsOf({ kvHeads, constraint: 'softmax' });
    expect(softmax).toEqual([0.25, 0.25, 0.5, 0.5, 1, 1]);
  });

  test('from least squares is called so', async () => {
    const calibration = [{ inputIds: [[5, 6, 1]], labels: [[7, 1]] }];
    const options = { kvHeads: 2, init: 'least-squares', calibration } as const;
    expect(new Set(await initialsOf(options))).toEqual(new Set(['least-squares']));
  });
});

describe('counted are', () => {
  const count = async (options: ConvertOptions): Promise<number[]> => {
    await using converted: Model = await model.convert({ kvHeads: 2, ...options });
    const groups = await readMergeWeights(converted);
    const merge = groups.reduce((sum, { values }) => sum + values.length, 0);
    return [merge, countConversionWeights(converted)];
  };

  test('merge weights, expansion weights, and both', async () => {
    // K and V of two modules in three layers: four heads, and four heads of six channels.
    const [merge, expansion] = [12 * 4, 12 * 4 * 6];
    expect(await count({ merge: 'mean' })).toEqual([0, 0]);
    expect(await count({ merge: 'weighted' })).toEqual([merge, merge]);
    expect(await count({ merge: 'mean', expansion: true })).toEqual([0, expansion]);
    const both = { merge: 'weighted', expansion: true } as const;
    expect(await count(both)).toEqual([merge, merge + expansion]);
  });
});
