/** What `config.json` says of a conversion, wrong: refused with the key's name. */
import { readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { loadModel, type ConvertOptions } from '../../src/index.ts';
import { BY_LAYER, logitsOf } from '../support/conversions.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { failureOf } from '../support/errors.ts';
import { tinyModel } from '../support/tiny-model.ts';

type Json = Readonly<Record<string, unknown>>;

const newDirectory = useTemporaryDirectories();

/** A converted checkpoint with everything that a conversion can say. */
const COMPLETE = {
  kvHeads: 2,
  merge: 'weighted',
  granularity: 'column',
  init: 'random',
  constraint: 'softmax',
  grouping: 'similarity',
  alignment: 'orthogonal',
  expansion: true,
} as const satisfies ConvertOptions;

async function savedModel(conversion: ConvertOptions): Promise<string> {
  const directory = newDirectory();
  await using source = await tinyModel();
  await using converted = await source.convert(conversion);
  await converted.save(directory);
  return directory;
}

const complete = await savedModel(COMPLETE);
const byLayer = await savedModel({ kvHeads: BY_LAYER, merge: 'mean' });

async function configOf(directory: string): Promise<Json> {
  return JSON.parse(await readFile(path.join(directory, 'config.json'), 'utf8')) as Json;
}

/** The checkpoint with other keys; undefined removes one. */
async function withConfig(directory: string, change: (config: Json) => Json): Promise<string> {
  const changed = newDirectory();
  const config = change(await configOf(directory));
  await writeFile(path.join(changed, 'config.json'), JSON.stringify(config));
  const weights = await readFile(path.join(directory, 'model.safetensors'));
  await writeFile(path.join(changed, 'model.safetensors'), weights);
  return changed;
}

async function expectRefused(directory: string, change: Json, field: string): Promise<void> {
  const changed = await withConfig(directory, (config) => ({ ...config, ...change }));
  expect(await failureOf(() => loadModel(changed))).toEqual({ code: 'INVALID_FILE', field });
}

test('of a complete one every key is written, and read again', async () => {
  const { kvHeads, ...rest } = COMPLETE;
  const conversion = { kv_heads: kvHeads, ...rest, modules: ['decoder.self', 'decoder.cross'] };
  expect(await configOf(complete)).toMatchObject({ num_key_value_heads: 2, wgqa: conversion });
  await using loaded = await loadModel(complete);
  expect(loaded.config.wgqa).toEqual(conversion);
});

test('defaults are not written: those files are as older versions wrote them', async () => {
  const directory = await savedModel({ kvHeads: 2, merge: 'weighted' });
  expect((await configOf(directory))['wgqa']).toEqual({
    kv_heads: 2,
    merge: 'weighted',
    granularity: 'head',
    init: 'mean',
    modules: ['decoder.self', 'decoder.cross'],
  });
});

test('a folded checkpoint by layer without its modules is not guessed at', async () => {
  await using source = await tinyModel();
  await using weighted = await source.convert({ kvHeads: BY_LAYER, merge: 'weighted' });
  await using folded = await weighted.fold();
  const directory = newDirectory();
  await folded.save(directory);
  const heads = { num_key_value_heads: BY_LAYER };
  const modules = ['decoder.self', 'decoder.cross'];
  expect(await configOf(directory)).toMatchObject({ ...heads, num_key_value_modules: modules });
  // Both modules are the default, as for one number.
  const without = await withConfig(directory, ({ num_key_value_modules: _, ...rest }) => rest);
  await using loaded = await loadModel(without);
  expect(await logitsOf(loaded)).toEqual(await logitsOf(folded));
  await expectRefused(
    directory,
    { num_key_value_modules: ['decoder.self'] },
    'num_key_value_modules',
  );
});

describe('of a complete one', () => {
  test.each<[string, unknown]>([
    ['kv_heads', 4],
    ['kv_heads', BY_LAYER],
    ['init', 'ones'],
    ['constraint', 'tanh'],
    ['constraint', 'none'],
    ['constraint', null],
    ['grouping', 'neighbouring'],
    ['grouping', 1],
    ['alignment', 'none'],
    ['alignment', true],
    ['expansion', false],
    ['expansion', 1],
    ['expansion', 'true'],
    ['modules', ['decoder.left']],
    ['modules', []],
    ['modules', 'decoder.self'],
  ])('wgqa.%s %j', async (key, value) => {
    const { wgqa } = await configOf(complete);
    await expectRefused(complete, { wgqa: { ...(wgqa as Json), [key]: value } }, `wgqa.${key}`);
  });

  test.each([
    ['expansion', 'expansion_weight'],
    ['modules', 'merge_weight'],
  ])('without wgqa.%s its weights are too many', async (key, suffix) => {
    const { wgqa } = await configOf(complete);
    const less = { ...(wgqa as Json), [key]: key === 'modules' ? ['decoder.cross'] : undefined };
    const changed = await withConfig(complete, (config) => ({ ...config, wgqa: less }));
    const { code, field } = await failureOf(() => loadModel(changed));
    expect(code).toBe('INVALID_FILE');
    expect(field).toContain(`SelfAttention.k.${suffix}`);
  });

  test('a constraint is another model, not an error', async () => {
    const { wgqa } = await configOf(complete);
    const free = { ...(wgqa as Json), constraint: undefined };
    const changed = await withConfig(complete, (config) => ({ ...config, wgqa: free }));
    await using other = await loadModel(changed);
    await using original = await loadModel(complete);
    expect(await logitsOf(other)).not.toEqual(await logitsOf(original));
  });
});

describe('of heads by layer', () => {
  test.each<[string, unknown]>([
    ['none', {}],
    ['too few layers', { 'decoder.self': [1, 2] }],
    ['too many layers', { ...BY_LAYER, 'decoder.self': [1, 2, 4, 4] }],
    ['no divisor', { ...BY_LAYER, 'decoder.self': [1, 3, 4] }],
    ['null in a layer', { ...BY_LAYER, 'decoder.self': [1, null, 4] }],
    ['text in a layer', { ...BY_LAYER, 'decoder.self': [1, '2', 4] }],
    ['a fraction', { ...BY_LAYER, 'decoder.self': [1, 2.5, 4] }],
    ['one number for a module', { ...BY_LAYER, 'decoder.self': 2 }],
    ["the encoder's", { 'encoder.self': [1, 2] }],
    ['an unknown module', { ...BY_LAYER, 'decoder.left': [1, 2, 4] }],
    ['an array', [1, 2, 4]],
    ['text', '2'],
    ['true', true],
  ])('num_key_value_heads: %s', async (_name, kvHeads) => {
    await expectRefused(byLayer, { num_key_value_heads: kvHeads }, 'num_key_value_heads');
    const wgqa = undefined;
    await expectRefused(byLayer, { num_key_value_heads: kvHeads, wgqa }, 'num_key_value_heads');
  });

  test.each([
    [['decoder.self']],
    [['decoder.self', 'decoder.self']],
    [['decoder.self', 'decoder.cross', 'encoder.self']],
  ])('wgqa.modules %j', async (modules) => {
    const { wgqa } = await configOf(byLayer);
    await expectRefused(byLayer, { wgqa: { ...(wgqa as Json), modules } }, 'wgqa.modules');
  });

  test('other heads than the weights have', async () => {
    const other = { ...BY_LAYER, 'decoder.self': [2, 2, 4] };
    const changed = await withConfig(byLayer, ({ wgqa, ...config }) => ({
      ...config,
      num_key_value_heads: other,
      wgqa: { ...(wgqa as Json), kv_heads: other },
    }));
    expect(await failureOf(() => loadModel(changed))).toEqual({
      code: 'INVALID_FILE',
      field: 'decoder.block.0.layer.0.SelfAttention.k.weight',
    });
  });

  test('the order of modules does not matter', async () => {
    const reversed = Object.fromEntries(Object.entries(BY_LAYER).reverse());
    const changed = await withConfig(byLayer, (config) => ({
      ...config,
      num_key_value_heads: reversed,
    }));
    await using loaded = await loadModel(changed);
    expect(loaded.config.wgqa?.kv_heads).toEqual(BY_LAYER);
  });
});
