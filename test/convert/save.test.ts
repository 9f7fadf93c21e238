import { readdir, readFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { readSafetensorsHeader } from '../../src/checkpoint/safetensors.ts';
import { loadModel, type Model, type Tensor } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { failureOf } from '../support/errors.ts';
import { goldenModelDirectory } from '../support/golden.ts';
import { expectClose } from '../support/tensors.ts';
import { tinyBatch, tinyModel, TINY_V11 } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();
const ROUNDING = 1e-5;

async function logitsOf(model: Model): Promise<Tensor> {
  return (await model.forward(tinyBatch())).logits;
}

async function configOf(directory: string): Promise<Record<string, unknown>> {
  const text = await readFile(path.join(directory, 'config.json'), 'utf8');
  return JSON.parse(text) as Record<string, unknown>;
}

/** Saves, loads and compares bit for bit; returns the directory. */
async function expectRoundTrip(model: Model): Promise<string> {
  const directory = newDirectory();
  await model.save(directory);
  const loaded = await loadModel(directory);
  expect(await logitsOf(loaded)).toEqual(await logitsOf(model));
  expect([...loaded.parameters()]).toEqual([...model.parameters()]);
  expect(loaded.config).toMatchObject({ ...model.config, dtype: 'float32' });
  await loaded.dispose();
  return directory;
}

describe('a saved and loaded model is the same', () => {
  test.each(['MHA', 'GQA', 'MQA', 'RANDWGQA', 'ROWWGQA', 'COLWMQA'] as const)(
    '%s',
    async (preset) => {
      const source = await tinyModel(TINY_V11);
      const model = await source.convert({ preset, modules: ['decoder.cross', 'encoder.self'] });
      await expectRoundTrip(model);
      await Promise.all([source.dispose(), model.dispose()]);
    },
  );

  test('folded', async () => {
    const source = await tinyModel();
    const weighted = await source.convert({ preset: 'RANDWGQA', modules: ['decoder.self'] });
    const folded = await weighted.fold();
    const config = await configOf(await expectRoundTrip(folded));
    expect(config).toMatchObject({
      num_key_value_heads: 2,
      num_key_value_modules: ['decoder.self'],
    });
    expect(config).not.toHaveProperty('wgqa');
    await Promise.all([source.dispose(), weighted.dispose(), folded.dispose()]);
  });
});

describe('the files', () => {
  test('of a converted model say how', async () => {
    const source = await tinyModel();
    const model = await source.convert({ preset: 'ROWWGQA' });
    const directory = await expectRoundTrip(model);
    expect(await configOf(directory)).toMatchObject({
      architectures: ['T5ForConditionalGeneration'],
      num_key_value_heads: 2,
      wgqa: {
        kv_heads: 2,
        merge: 'weighted',
        granularity: 'row',
        init: 'mean',
        modules: ['decoder.self', 'decoder.cross'],
      },
    });
    const { tensors } = await readSafetensorsHeader(path.join(directory, 'model.safetensors'));
    const name = 'decoder.block.2.layer.1.EncDecAttention.v';
    expect(tensors.get(`${name}.weight`)?.shape).toEqual([24, 16]);
    expect(tensors.get(`${name}.merge_weight`)).toMatchObject({ dtype: 'F32', shape: [4, 1, 16] });
    await Promise.all([source.dispose(), model.dispose()]);
  });

  test('in the expanded layout are those of a plain T5 with the same logits', async () => {
    const source = await tinyModel();
    const weighted = await source.convert({ preset: 'RANDCOLWGQA' });
    const folded = await weighted.fold();
    const directory = newDirectory();
    await folded.save(directory, { layout: 'expanded' });
    const config = await configOf(directory);
    for (const key of ['wgqa', 'num_key_value_heads', 'num_key_value_modules']) {
      expect(config).not.toHaveProperty(key);
    }
    const expanded = await loadModel(directory);
    const shapes = (model: Model) =>
      [...model.parameters()].map(([name, { shape }]) => [name, shape]);
    expect(shapes(expanded)).toEqual(shapes(source));
    expectClose('logits', await logitsOf(expanded), await logitsOf(folded), ROUNDING);
    const key = 'decoder.block.0.layer.0.SelfAttention.k.weight';
    const { data } = await expanded.readParameter(key);
    const headSize = 6 * 16;
    expect(data.slice(0, headSize)).toEqual(data.slice(headSize, 2 * headSize));
    expect(data.slice(headSize, 2 * headSize)).not.toEqual(data.slice(2 * headSize, 3 * headSize));
    await Promise.all([source, weighted, folded, expanded].map((model) => model.dispose()));
  });

  test.each([
    ['bfloat16', 'BF16', 2 ** -9],
    ['float16', 'F16', 2 ** -12],
    ['float32', 'F32', 0],
  ] as const)('in %s are rounded once', async (dtype, stored, rounding) => {
    const source = await tinyModel();
    const model = await source.convert({ preset: 'RANDWGQA' });
    const directory = newDirectory();
    await model.save(directory, { dtype });
    expect(await configOf(directory)).toMatchObject({ dtype });
    const { tensors } = await readSafetensorsHeader(path.join(directory, 'model.safetensors'));
    for (const { name, dtype: actual } of tensors.values()) {
      expect({ name, actual }).toEqual({
        name,
        actual: name.endsWith('merge_weight') ? 'F32' : stored,
      });
    }
    const loaded = await loadModel(directory);
    const name = 'encoder.block.0.layer.1.DenseReluDense.wo.weight';
    const before = await model.readParameter(name);
    const after = await loaded.readParameter(name);
    for (const [i, value] of before.data.entries()) {
      // Half a unit in the last place; float16's smallest normal number bounds tiny values.
      const bound = Math.max(Math.abs(value), 2 ** -14) * rounding * 2;
      expect(Math.abs((after.data[i] ?? NaN) - value)).toBeLessThanOrEqual(bound);
    }
    // Saving what was loaded keeps its type and bits.
    const again = newDirectory();
    await loaded.save(again);
    expect(await readFile(path.join(again, 'model.safetensors'))).toEqual(
      await readFile(path.join(directory, 'model.safetensors')),
    );
    await Promise.all([source, model, loaded].map((m) => m.dispose()));
  });

  test('can be shards, and may replace those the model was loaded from', async () => {
    const source = await tinyModel();
    const directory = newDirectory();
    await source.save(directory, { maxShardBytes: 4000 });
    const files = await readdir(directory);
    expect(files.filter((name) => name.endsWith('.safetensors')).length).toBeGreaterThan(2);
    const loaded = await loadModel(directory);
    const logits = await logitsOf(loaded);
    expect(logits).toEqual(await logitsOf(source));
    await loaded.save(directory);
    expect((await readdir(directory)).sort()).toEqual(['config.json', 'model.safetensors']);
    expect(await logitsOf(loaded)).toEqual(logits);
    await Promise.all([source.dispose(), loaded.dispose()]);
  });

  test('of a loaded model carry its generation configuration and unknown keys along', async () => {
    const model = await loadModel(goldenModelDirectory('t5-mha'));
    const directory = path.join(newDirectory(), 'new');
    await model.save(directory);
    expect(await readdir(directory)).toContain('generation_config.json');
    expect(await configOf(directory)).toMatchObject({ classifier_dropout: 0, use_cache: true });
    await model.dispose();
  });
});

test('saving refuses unknown options', async () => {
  const model = await tinyModel();
  const cases: [object, string][] = [
    [{ layout: 'flat' }, 'layout'],
    [{ dtype: 'int8' }, 'dtype'],
    [{ maxShardBytes: 0 }, 'maxShardBytes'],
  ];
  for (const [options, field] of cases) {
    const work = () => model.save(newDirectory(), options);
    expect(await failureOf(work)).toEqual({ code: 'INVALID_ARGUMENT', field });
  }
  await model.dispose();
});
