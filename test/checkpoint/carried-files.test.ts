/** Which files of a checkpoint a new one takes over. */
import { mkdir, symlink, truncate, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, jest, test } from '@jest/globals';
import { carriedFiles } from '../../src/checkpoint/carried-files.ts';
import { useTemporaryDirectories } from '../support/directories.ts';

const newDirectory = useTemporaryDirectories();
let emitWarning: jest.SpiedFunction<typeof process.emitWarning>;

beforeEach(() => {
  emitWarning = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
});
afterEach(() => {
  emitWarning.mockRestore();
});

async function carriedFrom(directory: string): Promise<Record<string, string>> {
  const contents: Record<string, string> = {};
  for (const { name, chunks } of await carriedFiles(directory)) {
    contents[name] = '';
    for await (const chunk of chunks()) contents[name] += Buffer.from(chunk).toString();
  }
  return contents;
}

const warnings = (): string[] => emitWarning.mock.calls.map(([message]) => String(message));

test('tokenizer and generation settings, byte for byte, and nothing else', async () => {
  const directory = newDirectory();
  const content = '{ "x":1.0,\n\t"y": [] }';
  for (const name of [
    'generation_config.json',
    'tokenizer.json',
    'spiece.model',
    'model.safetensors',
    'README.md',
  ]) {
    await writeFile(path.join(directory, name), content);
  }
  expect(await carriedFrom(directory)).toEqual({
    'generation_config.json': content,
    'tokenizer.json': content,
    'spiece.model': content,
  });
  expect(warnings()).toEqual([]);
});

describe('links', () => {
  test('to other files of the checkpoint, and into the cache of the hub', async () => {
    const root = newDirectory();
    const snapshot = path.join(root, 'models--org--name/snapshots/abc');
    await mkdir(snapshot, { recursive: true });
    await mkdir(path.join(root, 'models--org--name/blobs'));
    await writeFile(path.join(root, 'models--org--name/blobs/123'), '{}');
    await symlink('../../blobs/123', path.join(snapshot, 'tokenizer.json'));
    await writeFile(path.join(snapshot, 'own.model'), 'x');
    await symlink('own.model', path.join(snapshot, 'spiece.model'));
    expect(await carriedFrom(snapshot)).toEqual({ 'tokenizer.json': '{}', 'spiece.model': 'x' });
    // The same through a link to the snapshot.
    await symlink(snapshot, path.join(root, 'link'));
    expect(Object.keys(await carriedFrom(path.join(root, 'link')))).toHaveLength(2);
  });

  test.each(['a file beside', 'an environment', 'nothing', 'blobs of another model'])(
    'to %s are left out',
    async (where) => {
      const root = newDirectory();
      const directory = path.join(root, 'models--a--b/snapshots/abc');
      await mkdir(directory, { recursive: true });
      await mkdir(path.join(root, 'models--c--d/blobs'), { recursive: true });
      await writeFile(path.join(root, 'secret'), '{}');
      await writeFile(path.join(root, 'models--c--d/blobs/1'), '{}');
      const targets: Record<string, string> = {
        'a file beside': path.join(root, 'secret'),
        'an environment': '/proc/self/environ',
        nothing: 'missing',
        'blobs of another model': path.join(root, 'models--c--d/blobs/1'),
      };
      await symlink(targets[where]!, path.join(directory, 'added_tokens.json'));
      expect(await carriedFrom(directory)).toEqual({});
      expect(warnings()).toEqual([expect.stringContaining('added_tokens.json')]);
    },
  );
});

test.each<[string, string, (file: string) => Promise<void>]>([
  [
    'too large',
    'special_tokens_map.json',
    async (file) => {
      await writeFile(file, '{');
      await truncate(file, 2 ** 36);
    },
  ],
  [
    'a folder',
    'spiece.model',
    async (file) => {
      await mkdir(file);
    },
  ],
  ['no JSON', 'tokenizer.json', (file) => writeFile(file, 'root:x:0:0')],
  [
    'a pointer of Git LFS',
    'spiece.model',
    (file) => writeFile(file, 'version https://git-lfs.github.com/spec/v1\n'),
  ],
])('what is %s is left out with a warning', async (_, name, make) => {
  const directory = newDirectory();
  await make(path.join(directory, name));
  expect(await carriedFrom(directory)).toEqual({});
  expect(warnings()).toEqual([expect.stringContaining(name)]);
});
