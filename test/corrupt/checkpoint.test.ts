/** Checkpoint directories that are no valid T5: refused before anything is allocated. */
import { execFileSync } from 'node:child_process';
import { cp, mkdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, jest, test } from '@jest/globals';
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

  test('extra ones are named in a warning, and do no harm', async () => {
    const directory = await withTensors((tensors) => {
      tensors.set('encoder.extra', zeros(3));
      tensors.set('encoder.block.0.layer.0.layer_norm.bias', zeros(32));
    });
    const emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    try {
      await (await loadModel(directory)).dispose();
      expect(emitWarning.mock.calls).toEqual([
        [
          expect.stringContaining('"encoder.extra", "encoder.block.0.layer.0.layer_norm.bias"'),
          { type: 'WgqaWarning', code: 'WGQA_SUPERFLUOUS_TENSORS' },
        ],
      ]);
    } finally {
      emitWarning.mockRestore();
    }
  });

  test('extra weights of a conversion are no superfluous ones', async () => {
    const name = 'decoder.block.0.layer.0.SelfAttention.k.merge_weight';
    const directory = await withTensors((tensors) => tensors.set(name, zeros(4, 1, 1)));
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'INVALID_FILE',
      field: name,
    });
  });

  test('embeddings of encoder and decoder that differ', async () => {
    const name = 'encoder.embed_tokens.weight';
    const directory = await withTensors((tensors) => tensors.set(name, zeros(96, 32)));
    expect(await failureOf(() => loadModel(directory))).toEqual({
      code: 'UNSUPPORTED',
      field: name,
    });
  });

  test('behind a prefix: that of Transformers is removed, others are named', async () => {
    const prefixed = (prefix: string) =>
      withTensors((tensors) => {
        for (const [name, tensor] of [...tensors]) {
          tensors.delete(name);
          tensors.set(prefix + name, tensor);
        }
      });
    await (await loadModel(await prefixed('transformer.'))).dispose();
    const directory = await prefixed('base_model.model.');
    expect((await errorOf(() => loadModel(directory))).message).toContain('base_model.model.');
  });

  test('of an adapter', async () => {
    const name = `base_model.model.${QUERY.replace('.weight', '.lora_A.weight')}`;
    const directory = await withTensors((tensors) => {
      tensors.clear();
      tensors.set(name, zeros(4, 32));
    });
    expect((await errorOf(() => loadModel(directory))).message).toContain('merge_and_unload');
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

  test('tie_word_embeddings false without a head: tied, with a warning, and not scaled', async () => {
    const directory = await withConfig({ tie_word_embeddings: false });
    const emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    await using model = await loadModel(directory);
    expect(emitWarning.mock.calls[0]?.[0]).toContain('lm_head.weight');
    emitWarning.mockRestore();
    expect(model.config).toMatchObject({ tie_word_embeddings: true });
    expect(model.parameters().has('lm_head.weight')).toBe(false);
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
    expect((await errorOf(() => loadModel(missing))).code).toBe('INVALID_ARGUMENT');
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
    expect((await errorOf(() => loadModel(directory))).code).toBe('INVALID_FILE');
  });
});

describe('what lies there instead of weights is named', () => {
  test.each([
    ['tf_model.h5', 'from_tf=True'],
    ['flax_model.msgpack', 'from_flax=True'],
    ['model-q4.gguf', 'GGUF'],
    ['adapter_model.safetensors', 'merge_and_unload'],
    ['weights.safetensors', 'give the path of the file'],
  ])('%s', async (name, cure) => {
    const directory = newDirectory();
    await cp(path.join(SOURCE, 'config.json'), path.join(directory, 'config.json'));
    await writeFile(path.join(directory, name), 'x');
    const error = await errorOf(() => loadModel(directory));
    expect(error).toMatchObject({ code: 'NOT_FOUND', field: 'model.safetensors' });
    expect(error.message).toContain(name);
    expect(error.message).toContain(cure);
    // Without config.json as well: people give the directory of a download.
    await rm(path.join(directory, 'config.json'));
    const bare = await errorOf(() => loadModel(directory));
    expect(bare.code).toBe('NOT_FOUND');
    expect(bare.message).toContain(cure);
  });

  test.each([
    [
      'a pointer of Git LFS',
      'version https://git-lfs.github.com/spec/v1\noid sha256:00\n',
      'git lfs pull',
    ],
    ['a page of a login', '<!DOCTYPE html><html>', 'HTML'],
    ['a GGUF file', 'GGUF\u0003', 'GGUF'],
  ])('%s, under each name', async (_, content, word) => {
    for (const name of ['model.safetensors', 'config.json', 'pytorch_model.bin']) {
      const directory = await withConfig({});
      if (name === 'pytorch_model.bin') await rm(path.join(directory, 'model.safetensors'));
      await writeFile(path.join(directory, name), content);
      const error = await errorOf(() => loadModel(directory));
      expect(error.code).toBe('INVALID_FILE');
      expect(error.message).toContain(word);
    }
  });

  test('a quantised checkpoint', async () => {
    const directory = await withConfig({ quantization_config: { quant_method: 'gptq', bits: 4 } });
    const error = await errorOf(() => loadModel(directory));
    expect(error).toMatchObject({ code: 'UNSUPPORTED', field: 'quantization_config' });
    expect(error.message).toContain('gptq');
  });

  test('an adapter beside a model: a warning', async () => {
    const directory = await withConfig({});
    await writeFile(path.join(directory, 'adapter_config.json'), '{}');
    const emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
    await (await loadModel(directory)).dispose();
    expect(emitWarning.mock.calls[0]?.[0]).toContain('adapter_config.json');
    emitWarning.mockRestore();
  });
});

describe('files of a wrong kind', () => {
  test.each(['config.json', 'model.safetensors', 'generation_config.json', 'spiece.model'])(
    'a FIFO for %s does not block',
    async (name) => {
      const directory = await withConfig({});
      const file = path.join(directory, name);
      await rm(file, { force: true });
      execFileSync('mkfifo', [file]);
      expect((await errorOf(() => loadModel(directory))).code).toBe('INVALID_FILE');
    },
  );

  test('an endless device for config.json is not read', async () => {
    const directory = await withConfig({});
    await rm(path.join(directory, 'config.json'));
    await symlink('/dev/zero', path.join(directory, 'config.json'));
    expect((await errorOf(() => loadModel(directory))).code).toBe('INVALID_FILE');
  });
});

describe('a file given for a directory', () => {
  test.each(['model.safetensors', 'renamed.safetensors'])('%s is loaded', async (name) => {
    const directory = await withConfig({});
    const file = path.join(directory, name);
    await rename(path.join(directory, 'model.safetensors'), file);
    await using model = await loadModel(file);
    expect(model.directory).toBe(directory);
  });

  test('config.json: its directory is asked for', async () => {
    const directory = await withConfig({});
    const error = await errorOf(() => loadModel(path.join(directory, 'config.json')));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'directory' });
    expect(error.message).toContain(directory);
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
