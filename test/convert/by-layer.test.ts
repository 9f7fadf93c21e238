/** K/V heads that differ from layer to layer. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { kvHeadsOf, loadModel, type ConvertOptions, type Model } from '../../src/index.ts';
import { BY_LAYER, logitsOf } from '../support/conversions.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { Float64T5 } from '../support/t5-float64.ts';
import { expectClose, relativeError } from '../support/tensors.ts';
import { tinyBatch, tinyModel, TINY_V10, TINY_V11 } from '../support/tiny-model.ts';
import {
  blockRow,
  float64Parameters,
  makeVariant,
  teacherForcedRows,
} from '../support/variants.ts';

// Merging and pooling sum the same numbers in another order, then three decoder layers follow.
const ROUNDING = 1e-5;
// Float32 end to end: different summation orders over some ten layers.
const FLOAT32 = 1e-4;
const UNIFORM = { 'decoder.self': [2, 2, 2], 'decoder.cross': [2, 2, 2] } as const;

const newDirectory = useTemporaryDirectories();
const model = await tinyModel();

afterAll(async () => {
  await model.dispose();
});

describe('each layer', () => {
  test('has the heads that it was given, others keep theirs', async () => {
    await using pooled = await model.convert({ kvHeads: BY_LAYER, merge: 'mean' });
    for (const [module, name] of [
      ['decoder.self', '0.SelfAttention'],
      ['decoder.cross', '1.EncDecAttention'],
    ] as const) {
      for (const [layer, kvHeads] of BY_LAYER[module].entries()) {
        expect(kvHeadsOf(pooled.config, module, layer)).toBe(kvHeads);
        const key = `decoder.block.${layer}.layer.${name}.v.weight`;
        expect(pooled.parameters().get(key)?.shape).toEqual([kvHeads * 6, 16]);
      }
    }
    const encoder = 'encoder.block.1.layer.0.SelfAttention.v.weight';
    expect(pooled.parameters().get(encoder)?.shape).toEqual([24, 16]);
  });

  test('of one module leaves the other as it was', async () => {
    const kvHeads = { 'decoder.cross': BY_LAYER['decoder.cross'] };
    await using pooled = await model.convert({ kvHeads, merge: 'mean' });
    expect(pooled.config.wgqa?.modules).toEqual(['decoder.cross']);
    const key = 'decoder.block.1.layer.0.SelfAttention.k.weight';
    expect(await pooled.readParameter(key)).toEqual(await model.readParameter(key));
  });
});

// The reference takes a layer's heads from the shape of its K, and knows nothing of conversions.
test('a forward pass is that of the float64 reference', async () => {
  await using pooled = await model.convert({ kvHeads: BY_LAYER, merge: 'mean' });
  const { num_key_value_heads: _, ...config } = pooled.config;
  const reference = new Float64T5(config, await float64Parameters(pooled));
  const rows = teacherForcedRows(tinyBatch());
  const { logits } = await pooled.forward(tinyBatch());
  for (const [i, row] of rows.entries()) {
    const actual = blockRow(logits, i, row.decoderInputs.length);
    expect(relativeError(actual, reference.forward(row).logits.data)).toBeLessThan(FLOAT32);
  }
});

describe('the same number in all layers is that number', () => {
  test.each<[string, ConvertOptions]>([
    ['mean', { merge: 'mean' }],
    ['weighted', { merge: 'weighted', granularity: 'row', init: 'random', seed: 3 }],
    ['aligned and expanded', { merge: 'mean', alignment: 'orthogonal', expansion: true }],
  ])('%s', async (_name, options) => {
    await using byLayer = await model.convert({ ...options, kvHeads: UNIFORM });
    await using same = await model.convert({ ...options, kvHeads: 2 });
    expect(await logitsOf(byLayer)).toEqual(await logitsOf(same));
    expect([...byLayer.parameters()]).toEqual([...same.parameters()]);
  });

  test('all heads everywhere is multi-head', async () => {
    const kvHeads = { 'decoder.self': [4, 4, 4], 'decoder.cross': [4, 4, 4] };
    await using converted = await model.convert({ kvHeads, merge: 'mean' });
    expect(await logitsOf(converted)).toEqual(await logitsOf(model));
  });
});

test('the model keeps its heads whatever becomes of the object they came in', async () => {
  const kvHeads = { 'decoder.self': [1, 2, 4] };
  await using converted = await model.convert({ kvHeads, merge: 'mean' });
  kvHeads['decoder.self'][0] = 4;
  expect(converted.config.num_key_value_heads).toEqual({ 'decoder.self': [1, 2, 4] });
  const directory = newDirectory();
  await converted.save(directory);
  await using loaded = await loadModel(directory);
  expect(await logitsOf(loaded)).toEqual(await logitsOf(converted));
});

describe('the expanded layout is a plain T5 with the same logits', () => {
  const ALL_MODULES = ['decoder.self', 'decoder.cross', 'encoder.self'] as const;
  const random = { merge: 'weighted', init: 'random', seed: 2 } as const;
  test.each<[string, Record<string, unknown>, ConvertOptions]>([
    ['heads by layer', TINY_V10, { kvHeads: BY_LAYER, merge: 'mean' }],
    ['weighted by layer', TINY_V11, { kvHeads: BY_LAYER, ...random }],
    // Position bias moves with the heads of self-attention.
    [
      'similar heads',
      TINY_V10,
      { kvHeads: 2, merge: 'mean', grouping: 'similarity', modules: ALL_MODULES },
    ],
    [
      'similar heads, aligned, expanded and constrained',
      TINY_V11,
      {
        kvHeads: 2,
        ...random,
        grouping: 'similarity',
        alignment: 'orthogonal',
        expansion: true,
        constraint: 'signed',
        modules: ALL_MODULES,
      },
    ],
    ['expanded pooled heads', TINY_V10, { kvHeads: 1, merge: 'mean', expansion: true }],
  ])('%s', async (name, config, conversion) => {
    await using converted = await makeVariant({ name, config, conversion });
    const folds = conversion.merge === 'weighted' || conversion.expansion === true;
    await using folded = folds ? await converted.fold() : undefined;
    await expectExpandedLayout(folded ?? converted);
  });
});

async function expectExpandedLayout(grouped: Model): Promise<void> {
  const directory = newDirectory();
  await grouped.save(directory, { layout: 'expanded' });
  const text = await readFile(path.join(directory, 'config.json'), 'utf8');
  for (const key of ['wgqa', 'num_key_value_heads', 'num_key_value_modules']) {
    expect(JSON.parse(text)).not.toHaveProperty(key);
  }
  await using expanded = await loadModel(directory);
  expect(expanded.config.num_key_value_heads).toBeUndefined();
  expectClose('logits', await logitsOf(expanded), await logitsOf(grouped), ROUNDING);
}
