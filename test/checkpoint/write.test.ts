import { spawnSync } from 'node:child_process';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { writeDirectory } from '../../src/checkpoint/atomic-directory.ts';
import { writeCheckpoint } from '../../src/checkpoint/checkpoint.ts';
import { readSafetensorsHeader } from '../../src/checkpoint/safetensors.ts';
import { readTensorEntries } from '../../src/checkpoint/tensor-files.ts';
import { safetensorsFile, type OutputTensor } from '../../src/checkpoint/write-safetensors.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';

const newDirectory = useTemporaryDirectories();

function tensor(
  name: string,
  values: number,
  dtype: OutputTensor['dtype'] = 'float32',
): OutputTensor {
  const bytes = Buffer.alloc(values * (dtype === 'float32' ? 4 : 2), name);
  return { name, dtype, shape: [values], read: () => Promise.resolve(bytes) };
}

const failing: OutputTensor = {
  ...tensor('failing', 1),
  read: () => Promise.reject(new Error('on purpose')),
};

describe('safetensors files', () => {
  test('hold each tensor at an aligned place with the bytes given', async () => {
    const directory = newDirectory();
    const tensors = [tensor('odd', 3, 'bfloat16'), tensor('b', 5), tensor('c', 1, 'float16')];
    await writeDirectory(directory, [safetensorsFile('x.safetensors', tensors, { a: 'b' })]);
    const file = path.join(directory, 'x.safetensors');
    const { tensors: read, metadata } = await readSafetensorsHeader(file);
    expect(metadata).toEqual({ a: 'b' });
    const content = await readFile(file);
    for (const { name, read: original } of tensors) {
      const { offset = 1, bytes = 0, dtype } = read.get(name) ?? {};
      expect(offset % (dtype === 'F32' ? 4 : 2)).toBe(0);
      expect(content.subarray(offset, offset + bytes)).toEqual(await original());
    }
    expect(read.get('b')?.offset).toBe((read.get('odd')?.offset ?? 0) - 20);
  });
});

describe('a checkpoint', () => {
  const options = { config: { a: 1 }, carryFrom: undefined };

  test('beyond the shard size is cut, with an index', async () => {
    const directory = newDirectory();
    const tensors = ['a', 'b', 'c', 'd'].map((name) => tensor(name, 10));
    await writeCheckpoint(directory, { ...options, tensors, maxShardBytes: 100 });
    expect((await readdir(directory)).sort()).toEqual([
      'config.json',
      'model-00001-of-00002.safetensors',
      'model-00002-of-00002.safetensors',
      'model.safetensors.index.json',
    ]);
    const index = await readFile(path.join(directory, 'model.safetensors.index.json'), 'utf8');
    expect(JSON.parse(index)).toEqual({
      metadata: { total_size: 160 },
      weight_map: {
        a: 'model-00001-of-00002.safetensors',
        b: 'model-00001-of-00002.safetensors',
        c: 'model-00002-of-00002.safetensors',
        d: 'model-00002-of-00002.safetensors',
      },
    });
    expect([...(await readTensorEntries(directory)).keys()].sort()).toEqual(['a', 'b', 'c', 'd']);
  });

  test('replaces the weights of another, however they were cut', async () => {
    const directory = newDirectory();
    const tensors = [tensor('a', 10), tensor('b', 10)];
    await writeFile(path.join(directory, 'notes.txt'), 'mine');
    await writeCheckpoint(directory, { ...options, tensors, maxShardBytes: 40 });
    await writeCheckpoint(directory, { ...options, tensors, maxShardBytes: 1e9 });
    expect((await readdir(directory)).sort()).toEqual([
      'config.json',
      'model.safetensors',
      'notes.txt',
    ]);
    await writeCheckpoint(directory, { ...options, tensors, maxShardBytes: 40 });
    expect(await readdir(directory)).not.toContain('model.safetensors');
  });

  test('that fails half-way leaves the directory as it was', async () => {
    const directory = newDirectory();
    const good = { ...options, tensors: [tensor('a', 10)], maxShardBytes: 1e9 };
    await writeCheckpoint(directory, good);
    const before = await readFile(path.join(directory, 'model.safetensors'));
    const bad = { ...good, tensors: [tensor('z', 10), failing] };
    await expect(writeCheckpoint(directory, bad)).rejects.toThrow('on purpose');
    expect((await readdir(directory)).sort()).toEqual(['config.json', 'model.safetensors']);
    expect(await readFile(path.join(directory, 'model.safetensors'))).toEqual(before);
  });

  test('that fails leaves no new directory behind', async () => {
    const parent = newDirectory();
    const bad = { ...options, tensors: [failing], maxShardBytes: 1e9 };
    await expect(writeCheckpoint(path.join(parent, 'new'), bad)).rejects.toThrow('on purpose');
    expect(await readdir(parent)).toEqual([]);
  });

  test('carries tokenizer files along', async () => {
    const contentOf = (name: string): string => `{ "name" : "${name}" , "x": 1.0 }`;
    const source = newDirectory();
    const target = path.join(newDirectory(), 'new');
    for (const name of ['tokenizer.json', 'generation_config.json', 'unrelated.txt']) {
      await writeFile(path.join(source, name), contentOf(name));
    }
    const tensors = [tensor('a', 1)];
    await writeCheckpoint(target, { ...options, carryFrom: source, tensors, maxShardBytes: 1e9 });
    expect((await readdir(target)).sort()).toEqual([
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'tokenizer.json',
    ]);
    const carried = await readFile(path.join(target, 'tokenizer.json'), 'utf8');
    expect(carried).toBe(contentOf('tokenizer.json'));
  });
});

describe('the operating system refuses', () => {
  const files = [{ name: 'a', chunks: () => [Buffer.alloc(1 << 20)] }];

  test('a file in the place of the directory, or of its parent', async () => {
    const parent = newDirectory();
    await writeFile(path.join(parent, 'file'), '');
    for (const target of ['file', 'file/below']) {
      const work = () => writeDirectory(path.join(parent, target), files);
      expect((await errorOf(work)).code).toBe('IO');
    }
    expect(await readdir(parent)).toEqual(['file']);
  });

  test('a read-only parent', async () => {
    const parent = newDirectory();
    await chmod(parent, 0o500);
    if (process.getuid?.() === 0) {
      // Root writes everywhere but on read-only file systems such as this one.
      expect((await errorOf(() => writeDirectory('/proc/wgqa-test', files))).code).toBe('IO');
      return;
    }
    expect((await errorOf(() => writeDirectory(path.join(parent, 'a'), files))).code).toBe('IO');
  });

  test('a full disk', async () => {
    const disk = path.join(newDirectory(), 'disk');
    await mkdir(disk);
    const mounted =
      spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk]).status === 0;
    if (!mounted) {
      process.stderr.write('full disk not tested: mounting a small file system needs root\n');
      return;
    }
    try {
      const error = await errorOf(() => writeDirectory(path.join(disk, 'new'), files));
      expect(error.code).toBe('NO_SPACE');
      expect(await readdir(disk)).toEqual([]);
    } finally {
      spawnSync('umount', [disk]);
    }
  });
});
