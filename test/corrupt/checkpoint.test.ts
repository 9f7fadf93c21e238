/** Checkpoint directories that are no valid T5: refused before anything is allocated. */
import { cp, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { loadModel } from '../../src/index.ts';
import { safetensorsFile, type OutputTensor } from '../../src/checkpoint/write-safetensors.ts';
import { writeDirectory } from '../../src/checkpoint/atomic-directory.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { goldenModelDirectory } from '../support/golden.ts';
import { readTensors, type ReferenceTensor } from '../support/tensors.ts';

const newDirectory = useTemporaryDirectories();
const SOURCE = goldenModelDirectory('t5-mha');
const QUERY = 'encoder.block.1.layer.0.SelfAttention.q.weight';

type Tensors = Map<string, ReferenceTensor>;

/** A copy of a good checkpoint with other tensors. */
async function withTensors(change: (tensors: Tensors) => void): Promise<string> {
  const directory = newDirectory();
  const tensors = await readTensors(path.join(SOURCE, 'model.safetensors'));
  change(tensors);
  const outputs = [...tensors].map(([name, { shape, data }]): OutputTensor => {
    const bytes = new Uint8Array(data.buffer);
    return { name, shape, dtype: 'float32', read: () => Promise.resolve(bytes) };
  });
  await cp(path.join(SOURCE, 'config.json'), path.join(directory, 'config.json'));
  await writeDirectory(directory, [safetensorsFile('model.safetensors', outputs, {})]);
  return directory;
}

/** A copy of a good checkpoint with other configuration keys; undefined removes one. */
async function withConfig(change: Record<string, unknown>): Promise<string> {
  const directory = newDirectory();
  const config = JSON.parse(await readFile(path.join(SOURCE, 'config.json'), 'utf8')) as object;
  await writeFile(path.join(directory, 'config.json'), JSON.stringify({ ...config, ...change }));
  await cp(path.join(SOURCE, 'model.safetensors'), path.join(directory, 'model.safetensors'));
  return directory;
}

function zeros(...shape: number[]): ReferenceTensor {
  return { shape, data: new Float32Array(shape.reduce((product, size) => product * size, 1)) };
}

describe('tensors', () => {
  test('missing', async () => {
    const directory = await withTensors((tensors) => tensors.delete(QUERY));
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'INVALID_FILE',
      field: QUERY,
    });
  });

  test('extra', async () => {
    const directory = await withTensors((tensors) => tensors.set('encoder.extra', zeros(3)));
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'INVALID_FILE',
      field: 'encoder.extra',
    });
  });

  test.each([[[32]], [[16, 64]], [[33, 32]], [[1, 32, 32]]])('of shape %j', async (shape) => {
    const directory = await withTensors((tensors) => tensors.set(QUERY, zeros(...shape)));
    expect(await errorOf(() => loadModel(directory))).toMatchObject({
      code: 'INVALID_FILE',
      field: QUERY,
      allowed: '[32, 32]',
    });
  });

  test('of an integer type', async () => {
    const directory = await withConfig({});
    const file = path.join(directory, 'model.safetensors');
    const text = (await readFile(file)).toString('latin1');
    const integers = text.replace(`"${QUERY}":{"dtype":"F32"`, `"${QUERY}":{"dtype":"I32"`);
    expect(integers).not.toBe(text);
    await writeFile(file, integers, 'latin1');
    expect(await errorOf(() => loadModel(directory))).toMatchObject({
      code: 'UNSUPPORTED',
      field: QUERY,
      allowed: 'F32 | F16 | BF16',
    });
  });

  test('known harmless copies are no reason to refuse', async () => {
    const directory = await withTensors((tensors) => {
      const shared = tensors.get('shared.weight') ?? zeros(96, 32);
      tensors.set('encoder.embed_tokens.weight', shared);
      tensors.set('decoder.embed_tokens.weight', shared);
      tensors.set('lm_head.weight', shared);
      tensors.set(
        'decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight',
        zeros(8, 4),
      );
    });
    const model = await loadModel(directory);
    expect(model.parameters().has('lm_head.weight')).toBe(false);
    await model.dispose();
  });

  test('an embedding stored under the encoder alone is found', async () => {
    const directory = await withTensors((tensors) => {
      tensors.set('encoder.embed_tokens.weight', tensors.get('shared.weight') ?? zeros(1));
      tensors.delete('shared.weight');
    });
    const model = await loadModel(directory);
    const original = await loadModel(SOURCE);
    expect(await model.readParameter('shared.weight')).toEqual(
      await original.readParameter('shared.weight'),
    );
    await Promise.all([model.dispose(), original.dispose()]);
  });
});

describe('config.json', () => {
  test.each<[string, unknown, string]>([
    ['model_type', 'llama', 'UNSUPPORTED'],
    ['model_type', undefined, 'UNSUPPORTED'],
    ['architectures', ['T5EncoderModel'], 'UNSUPPORTED'],
    ['feed_forward_proj', 'gated-tanh', 'UNSUPPORTED'],
    ['feed_forward_proj', 'a-b-c', 'INVALID_FILE'],
    ['d_model', undefined, 'INVALID_FILE'],
    ['d_model', '32', 'INVALID_FILE'],
    ['d_model', 32.5, 'INVALID_FILE'],
    ['d_model', 0, 'INVALID_FILE'],
    ['d_model', 1e12, 'INVALID_FILE'],
    ['vocab_size', -1, 'INVALID_FILE'],
    ['num_layers', 1e9, 'INVALID_FILE'],
    ['num_heads', 0, 'INVALID_FILE'],
    ['layer_norm_epsilon', 'small', 'INVALID_FILE'],
    ['eos_token_id', 96, 'INVALID_FILE'],
    ['eos_token_id', [], 'INVALID_FILE'],
    ['pad_token_id', -1, 'INVALID_FILE'],
    ['relative_attention_num_buckets', 7, 'INVALID_FILE'],
    ['relative_attention_max_distance', 4, 'INVALID_FILE'],
    ['tie_word_embeddings', 'yes', 'INVALID_FILE'],
    ['num_key_value_heads', 3, 'INVALID_FILE'],
  ])('with %s %j', async (key, value, code) => {
    // An absent architecture default must not hide what is tested.
    const change = { ...(key === 'feed_forward_proj' && { dense_act_fn: null }), [key]: value };
    const directory = await withConfig(change);
    expect(await failureOf(() => loadModel(directory))).toEqual({ code, field: key });
  });

  test('says more heads than the weights have', async () => {
    const directory = await withConfig({ num_heads: 8 });
    expect((await errorOf(() => loadModel(directory))).code).toBe('INVALID_FILE');
  });

  test.each([
    ['kv_heads', { kv_heads: 1, merge: 'mean', modules: ['decoder.self'] }],
    ['merge', { kv_heads: 2, merge: 'sum', modules: ['decoder.self'] }],
    ['granularity', { kv_heads: 2, merge: 'weighted', init: 'mean', modules: ['decoder.self'] }],
    ['modules', { kv_heads: 2, merge: 'mean', modules: ['decoder'] }],
  ])('with a wrong wgqa.%s', async (key, wgqa) => {
    const directory = await withConfig({ num_key_value_heads: 2, wgqa });
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'INVALID_FILE',
      field: `wgqa.${key}`,
    });
  });

  test('that is no JSON, and one with a key twice', async () => {
    const directory = await withConfig({});
    const file = path.join(directory, 'config.json');
    await writeFile(file, '{"model_type": "t5"');
    expect((await errorOf(() => loadModel(directory))).code).toBe('INVALID_FILE');
    await writeFile(file, '{"model_type": "t5", "d_model": 1, "d_model": 2}');
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'INVALID_FILE',
      field: 'd_model',
    });
  });
});

describe('directories', () => {
  test('that do not exist, are files, or are empty', async () => {
    const directory = newDirectory();
    const missing = path.join(directory, 'missing');
    expect((await errorOf(() => loadModel(missing))).code).toBe('NOT_FOUND');
    await writeFile(missing, '');
    expect((await errorOf(() => loadModel(missing))).code).toBe('NOT_FOUND');
    expect((await errorOf(() => loadModel(directory))).code).toBe('NOT_FOUND');
  });

  test('without weights', async () => {
    const directory = await withConfig({});
    await rm(path.join(directory, 'model.safetensors'));
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'NOT_FOUND',
      field: 'model.safetensors',
    });
  });

  test('whose weights are a directory', async () => {
    const directory = await withConfig({});
    await rm(path.join(directory, 'model.safetensors'));
    await mkdir(path.join(directory, 'model.safetensors'));
    expect((await errorOf(() => loadModel(directory))).code).toBe('IO');
  });
});

describe('the index of shards', () => {
  /** A checkpoint whose index says this. */
  async function withIndex(index: unknown): Promise<string> {
    const directory = await withConfig({});
    await rm(path.join(directory, 'model.safetensors'));
    await cp(path.join(SOURCE, 'model.safetensors'), path.join(directory, 'all.safetensors'));
    await writeFile(path.join(directory, 'model.safetensors.index.json'), JSON.stringify(index));
    return directory;
  }

  test.each([
    '../all.safetensors',
    '/etc/passwd',
    'sub/all.safetensors',
    'sub\\all.safetensors',
    '..',
    '.safetensors',
    'all.bin',
    'all.safetensors\0',
    7,
  ])('puts a tensor into %j', async (shard) => {
    const directory = await withIndex({ weight_map: { 'shared.weight': shard } });
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'INVALID_FILE',
      field: 'shared.weight',
    });
  });

  test('has no weight_map', async () => {
    const directory = await withIndex({ metadata: {} });
    expect((await errorOf(() => loadModel(directory))).field).toBe('weight_map');
  });

  test('names a shard that does not exist', async () => {
    const directory = await withIndex({ weight_map: { a: 'model-00001-of-00002.safetensors' } });
    expect((await errorOf(() => loadModel(directory))).code).toBe('NOT_FOUND');
  });

  test('lists a tensor that its shard does not hold, or leaves one out', async () => {
    const { tensors } = await import('../../src/checkpoint/safetensors.ts').then((module) =>
      module.readSafetensorsHeader(path.join(SOURCE, 'model.safetensors')),
    );
    const map = Object.fromEntries([...tensors.keys()].map((name) => [name, 'all.safetensors']));
    const extra = await withIndex({ weight_map: { ...map, extra: 'all.safetensors' } });
    expect((await errorOf(() => loadModel(extra))).field).toBe('extra');
    const { [QUERY]: _left, ...fewer } = map;
    const missing = await withIndex({ weight_map: fewer });
    expect((await errorOf(() => loadModel(missing))).field).toBe(QUERY);
  });
});
