/** The process that measures another tree, here with this one in its place. */
import { afterAll, beforeAll, expect, test } from '@jest/globals';
import path from 'node:path';
import { compareTrees } from '../../bench/against/against.ts';
import { COMPARABLE } from '../../bench/against/cases.ts';
import { AskedProcess, Impossible } from '../../bench/asked-process.ts';
import type { Request } from '../../bench/against/protocol.ts';
import { native } from '../../src/native.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { TINY_V10 } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();
const ROOT = path.join(import.meta.dirname, '../..');
const CHILD = path.join(ROOT, 'bench/against/child.ts');

let child: AskedProcess;
beforeAll(() => {
  child = new AskedProcess(CHILD, { args: [ROOT] });
});
afterAll(async () => {
  await child[Symbol.asyncDispose]();
});

async function ask(request: Request): Promise<unknown> {
  return child.ask(request);
}

test('a tree keeps its model and measures when it is asked', async () => {
  await expect(ask({ call: 'measure' })).rejects.toThrow('nothing is prepared');
  const { isa, threads } = native().cpu();
  expect(await ask({ call: 'describe' })).toEqual({ isa, threads });
  for (const dtype of ['float32', 'int8'] as const) {
    await ask({ call: 'load', config: TINY_V10, dtype });
    for (const work of [
      { step: { batch: 2, sourceTokens: 5, newTokens: 3 } },
      { encoding: { sequences: 2, tokens: 5 } },
    ]) {
      await ask({ call: 'prepare', work });
      expect(await ask({ call: 'measure' })).toBeGreaterThan(0);
      expect(await ask({ call: 'measure' })).toBeGreaterThan(0);
    }
  }
});

test('a type that a tree has not is no failure of the comparison', async () => {
  const work = ask({ call: 'load', config: TINY_V10, dtype: 'float16' });
  await expect(work).rejects.toBeInstanceOf(Impossible);
  const unknown = ask({ call: 'load', config: { ...TINY_V10, num_heads: 0 }, dtype: 'float32' });
  await expect(unknown).rejects.not.toBeInstanceOf(Impossible);
});

test('a process that ends says so', async () => {
  await using ended = new AskedProcess(CHILD, { args: [] });
  await expect(ended.ask({ call: 'describe' })).rejects.toThrow('child.ts: its process ended');
});

test('a folder that is no built tree, and a benchmark that compares none, are refused', async () => {
  const options = { quick: true, onProgress: () => undefined };
  await expect(compareTrees('types', newDirectory(), options)).rejects.toThrow('src/index.ts');
  await expect(compareTrees('machine', ROOT, options)).rejects.toThrow('decoding, encoder, types');
});

test('every type and batch is compared', () => {
  const groups = COMPARABLE['types']?.(false) ?? [];
  expect(new Set(groups.map(({ title, dtype }) => `${title} ${dtype}`)).size).toBe(6);
  expect(groups).toHaveLength(12);
  expect(groups.flatMap(({ works }) => works)).toHaveLength(2 * 3 * (3 + 2));
});
