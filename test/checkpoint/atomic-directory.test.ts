/** Directories written as a whole: whatever stops a save, all old files are there or all new ones. */
import { mkdir, readdir, readFile, rename, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import {
  textFile,
  writeDirectory,
  type OutputFile,
} from '../../src/checkpoint/atomic-directory.ts';
import { COMMIT_FOLDER, finishReplacement } from '../../src/checkpoint/replacement-journal.ts';
import { isLeftBehind, newStagingName } from '../../src/checkpoint/save-owner.ts';
import { programCommand, runChild } from '../support/child.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';

const newDirectory = useTemporaryDirectories();
/** As left by a process of this machine that ended: no process has this number. */
const deadName = (): string => newStagingName().replace(/(-save-\w+)-\d+-\d+/, '$1-4194305-1');

async function contentOf(directory: string): Promise<Record<string, string>> {
  const entries = await readdir(directory, { withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map(({ name }) => name);
  const contents = files
    .sort()
    .map(async (name) => [name, await readFile(path.join(directory, name), 'utf8')]);
  return Object.fromEntries((await Promise.all(contents)) as [string, string][]);
}

const files = (text: string, ...names: string[]): OutputFile[] =>
  names.map((name) => textFile(name, text));

/** A directory that is exchanged as a whole, and one that is not because a folder lies in it. */
const PLACES: Record<string, (directory: string) => Promise<void>> = {
  exchanged: () => Promise.resolve(),
  'changed inside': async (directory) => {
    await mkdir(path.join(directory, 'folder'), { recursive: true });
    await writeFile(path.join(directory, 'folder', 'kept'), 'kept');
  },
};

describe.each(Object.keys(PLACES))('a directory that is %s', (place) => {
  const make = async (): Promise<{ parent: string; directory: string }> => {
    const parent = newDirectory();
    const directory = path.join(parent, 'd');
    await writeDirectory(directory, files('old', 'a', 'b', 'obsolete'));
    await writeFile(path.join(directory, 'mine'), 'mine');
    await PLACES[place]!(directory);
    return { parent, directory };
  };
  const isObsolete = (name: string): boolean => name === 'obsolete';
  const OLD = { a: 'old', b: 'old', obsolete: 'old', mine: 'mine' };

  test('has the new files, keeps those of others, and leaves nothing beside', async () => {
    const { parent, directory } = await make();
    await writeDirectory(directory, files('new', 'a', 'b', 'c'), { isObsolete });
    expect(await contentOf(directory)).toEqual({ a: 'new', b: 'new', c: 'new', mine: 'mine' });
    expect(await readdir(parent)).toEqual(['d']);
    const names = (await readdir(directory)).filter((name) => name !== 'folder');
    expect(names.sort()).toEqual(['a', 'b', 'c', 'mine']);
    if (place !== 'exchanged') {
      expect(await contentOf(path.join(directory, 'folder'))).toEqual({ kept: 'kept' });
    }
  });

  test('is as it was after a save that failed', async () => {
    const { parent, directory } = await make();
    const failing: OutputFile = {
      name: 'c',
      chunks: () => {
        throw new Error('on purpose');
      },
    };
    const save = writeDirectory(directory, [...files('new', 'a', 'b'), failing], { isObsolete });
    await expect(save).rejects.toThrow('on purpose');
    expect(await contentOf(directory)).toEqual(OLD);
    expect(await readdir(parent)).toEqual(['d']);
  });

  test('is as it was where a folder has the name of a file', async () => {
    const { directory } = await make();
    await mkdir(path.join(directory, 'c'));
    const save = (): Promise<void> =>
      writeDirectory(directory, files('new', 'a', 'b', 'c'), { isObsolete });
    expect((await errorOf(save)).code).toBe('IO');
    expect(await contentOf(directory)).toEqual(OLD);
  });

  test('is as it was after a save that was aborted', async () => {
    const { directory } = await make();
    const signal = AbortSignal.abort('enough');
    const save = (): Promise<void> =>
      writeDirectory(directory, files('new', 'a', 'b'), { isObsolete, signal });
    expect(await errorOf(save)).toMatchObject({ code: 'ABORTED', cause: 'enough' });
    expect(await contentOf(directory)).toEqual(OLD);
  });

  test('has the files of one of two savers, all of them', async () => {
    const { directory } = await make();
    const names = Array.from({ length: 20 }, (_, i) => `f${i}`);
    const texts = ['1', '2', '3', '4'];
    await Promise.all(
      texts.map((text) => writeDirectory(directory, files(text, ...names), { isObsolete })),
    );
    const content = await contentOf(directory);
    const written = new Set(names.map((name) => content[name]));
    expect(written.size).toBe(1);
    expect(texts).toContain([...written][0]);
  });

  test('loses what dead processes left, and nothing of those that live', async () => {
    const { parent, directory } = await make();
    const living = newStagingName();
    for (const where of [parent, directory]) {
      await mkdir(path.join(where, deadName()));
      await mkdir(path.join(where, living));
    }
    await writeDirectory(directory, files('new', 'a', 'b'), { isObsolete });
    expect(await readdir(directory)).toContain(living);
    const names = [...(await readdir(parent)), ...(await readdir(directory))];
    expect(names.filter((name) => name.startsWith('.wgqa'))).toContain(living);
    expect(names.filter((name) => name.includes('-4194305-'))).toHaveLength(0);
  });

  test('killed before any change of names has all old files or all new ones', async () => {
    const save = async (directory: string, at: number) =>
      runChild(programCommand('killed-save.ts', [directory, String(at)]));
    const { stdout } = await save((await make()).directory, -1);
    const changes = Number(stdout);
    expect(changes).toBeGreaterThan(3);
    const seen = new Set<string>();
    for (let at = 0; at < changes; ++at) {
      const { parent, directory } = await make();
      expect((await save(directory, at)).signal).toBe('SIGKILL');
      await finishReplacement(directory);
      const { mine, a, ...content } = await contentOf(directory);
      expect(mine).toBe('mine');
      expect(content).toEqual(a === 'old' ? { b: 'old', obsolete: 'old' } : { b: 'new', c: 'new' });
      seen.add(String(a));
      // The next save cleans up.
      await writeDirectory(directory, files('newer', 'a', 'b', 'c'), { isObsolete });
      expect(await contentOf(directory)).toEqual({
        a: 'newer',
        b: 'newer',
        c: 'newer',
        mine: 'mine',
      });
      const left = [...(await readdir(parent)), ...(await readdir(directory))];
      expect(left.filter((name) => name.startsWith('.wgqa'))).toEqual([]);
    }
    expect([...seen].sort()).toEqual(['new', 'old']);
  });
});

describe('a new directory', () => {
  test('appears whole, its parents with it; a failure removes them', async () => {
    const parent = newDirectory();
    await writeDirectory(path.join(parent, 'a/b/c'), files('x', 'f'));
    expect(await contentOf(path.join(parent, 'a/b/c'))).toEqual({ f: 'x' });
    const failing = {
      name: 'f',
      chunks: () => {
        throw new Error('on purpose');
      },
    };
    await expect(writeDirectory(path.join(parent, 'd/e/f'), [failing])).rejects.toThrow(
      'on purpose',
    );
    expect(await readdir(parent)).toEqual(['a']);
  });

  test('behind a link: the link stays', async () => {
    const parent = newDirectory();
    await writeDirectory(path.join(parent, 'real'), files('old', 'a', 'b'));
    await symlink('real', path.join(parent, 'link'));
    await writeDirectory(path.join(parent, 'link'), files('new', 'a', 'b'));
    expect(await contentOf(path.join(parent, 'real'))).toEqual({ a: 'new', b: 'new' });
    expect((await readdir(parent)).sort()).toEqual(['link', 'real']);
  });
});

describe('a replacement that a killed process began', () => {
  /** Files of both saves, moved so far, and a journal whose owner is dead. */
  async function interrupted(moved: readonly string[]): Promise<string> {
    const directory = newDirectory();
    await writeDirectory(directory, files('old', 'a', 'b', 'obsolete'));
    const folder = path.join(directory, COMMIT_FOLDER);
    await mkdir(path.join(folder, 'new'), { recursive: true });
    await mkdir(path.join(folder, 'old'));
    for (const name of ['a', 'b', 'c']) await writeFile(path.join(folder, 'new', name), 'new');
    const journal = { owner: deadName(), names: ['a', 'b', 'c'], obsolete: ['obsolete'] };
    await writeFile(path.join(folder, 'journal.json'), JSON.stringify(journal));
    for (const name of moved)
      await rename(path.join(folder, 'new', name), path.join(directory, name));
    return directory;
  }

  test.each([[[]], [['a']], [['a', 'b']], [['a', 'b', 'c']]])(
    'is finished when %j were moved',
    async (moved) => {
      const directory = await interrupted(moved);
      await finishReplacement(directory);
      expect(await contentOf(directory)).toEqual({ a: 'new', b: 'new', c: 'new' });
      expect((await readdir(directory)).sort()).toEqual(['a', 'b', 'c']);
    },
  );

  test('is finished by the next save', async () => {
    const directory = await interrupted(['a']);
    await writeDirectory(directory, files('newer', 'a'));
    expect(await contentOf(directory)).toEqual({ a: 'newer', b: 'new', c: 'new' });
  });

  test('must not reach outside of the directory', async () => {
    const directory = await interrupted([]);
    const file = path.join(directory, COMMIT_FOLDER, 'journal.json');
    for (const name of ['../x', 'a/b', '..', '', 7]) {
      const journal = { owner: deadName(), names: [name], obsolete: [] };
      await writeFile(file, JSON.stringify(journal));
      expect((await errorOf(() => finishReplacement(directory))).code).toBe('INVALID_FILE');
    }
  });

  test('is left alone where its folder is a link', async () => {
    const directory = await interrupted([]);
    const other = newDirectory();
    await rename(path.join(directory, COMMIT_FOLDER), path.join(other, 'folder'));
    await symlink(path.join(other, 'folder'), path.join(directory, COMMIT_FOLDER));
    await finishReplacement(directory);
    expect(await contentOf(directory)).toEqual({ a: 'old', b: 'old', obsolete: 'old' });
  });
});

test('a process that lives is not taken for dead, and one that ended is', async () => {
  const directory = newDirectory();
  expect(await isLeftBehind(directory, newStagingName())).toBe(false);
  expect(await isLeftBehind(directory, deadName())).toBe(true);
  // Of another machine: only when it is old.
  const foreign = newStagingName().replace(/-save-\w+?-/, '-save-000000000000-');
  expect(await isLeftBehind(directory, foreign)).toBe(false);
});
