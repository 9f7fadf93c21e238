/** What an interrupted run leaves behind. */
import { mkdir, readdir, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { holdsState, stateDirectory } from '../../src/experiment/run-files.ts';
import { useTemporaryDirectories } from '../support/directories.ts';

const newDirectory = useTemporaryDirectories();

test('a state whose first checkpoint was cut off is none, and is removed', async () => {
  const run = newDirectory();
  await mkdir(run, { recursive: true });
  expect(await holdsState(run)).toBe(false);
  const state = stateDirectory(run);
  await mkdir(state);
  await writeFile(path.join(state, '.model.safetensors.1-ab.tmp'), 'half');
  await writeFile(path.join(state, 'optimizer.safetensors'), 'whole');
  expect(await holdsState(run)).toBe(false);
  expect(await readdir(run)).toEqual([]);
  await mkdir(state);
  await writeFile(path.join(state, 'config.json'), '{}');
  expect(await holdsState(run)).toBe(true);
  expect(await readdir(state)).toEqual(['config.json']);
});
