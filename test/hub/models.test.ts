/** The functions and commands that take a model take one of the hub. */
import { readdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { loadModel, loadTokenizer } from '../../src/index.ts';
import { wgqa, wgqaJson } from '../cli/fixtures.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { failure, folderOf, useHub } from './fixtures.ts';

const DEMO = path.join(import.meta.dirname, '../../demo/model');
const DEMO_FILES = Object.fromEntries(
  readdirSync(DEMO).map((name) => [name, readFileSync(path.join(DEMO, name))]),
);
const TOKENIZER_FILES = [
  'config.json',
  'special_tokens_map.json',
  'tokenizer.json',
  'tokenizer_config.json',
];

const hub = useHub();
const makeDirectory = useTemporaryDirectories();
const addDemo = (): string => hub.server.add('org/demo', { files: DEMO_FILES });
const snapshot = (commit: string): string =>
  path.join(folderOf(hub, 'org/demo'), 'snapshots', commit);

test('loadModel downloads, reports bytes and then tensors, and knows its directory', async () => {
  const commit = addDemo();
  const units: (string | undefined)[] = [];
  await using model = await loadModel('org/demo@main', {
    onProgress: (_done, _total, unit) => units.push(unit),
  });
  expect(model.directory).toBe(snapshot(commit));
  expect(new Set(units)).toEqual(new Set(['bytes', undefined]));
  expect(units.lastIndexOf('bytes')).toBeLessThan(units.indexOf(undefined));
  await using again = await loadModel('org/demo', { offline: true, revision: commit });
  expect(again.parameters().size).toBe(model.parameters().size);
});

test('loadTokenizer downloads no weights', async () => {
  const commit = addDemo();
  const tokenizer = await loadTokenizer('org/demo');
  expect(tokenizer.eosTokenId).toBe(1);
  expect(readdirSync(snapshot(commit)).sort()).toEqual(TOKENIZER_FILES);
});

test('wgqa pull prints the directory, and shows bytes on standard error', async () => {
  const commit = addDemo();
  const { code, stdout, stderr } = await wgqa(['pull', 'org/demo']);
  expect([code, stdout]).toEqual([0, `${snapshot(commit)}\n`]);
  expect(stderr).toMatch(/^org\/demo: .* of 1?[0-9.]+ MiB/m);
  expect(await wgqa(['pull', 'org/demo'])).toMatchObject({ code: 0, stderr: '' });
  const cache = makeDirectory();
  expect(await wgqaJson(['pull', 'org/demo', '--cache-dir', cache, '--revision', commit])).toEqual({
    model: 'org/demo',
    directory: path.join(cache, 'models--org--demo/snapshots', commit),
  });
});

test('every other command takes a model of the hub, too', async () => {
  addDemo();
  const { heads } = (await wgqaJson(['inspect', 'org/demo'])) as { heads?: unknown };
  expect(heads).toBe((await wgqaJson(['inspect', DEMO]))['heads']);
  const out = path.join(makeDirectory(), 'gqa');
  const { code, stderr } = await wgqa(['convert', 'org/demo', out, '--preset', 'MQA', '--json']);
  expect([code, stderr]).toEqual([0, '']);
  expect(readdirSync(out)).toContain('tokenizer.json');
  rmSync(folderOf(hub, 'org/demo'), { recursive: true });
  process.env['HF_HUB_OFFLINE'] = '1';
  const offline = await wgqa(['generate', 'org/demo', 'text']);
  expect(offline.code).toBe(1);
  expect(offline.stderr).toMatch(/wgqa pull org\/demo@main.*NOT_FOUND/);
  expect((await failure('org/demo')).code).toBe('NOT_FOUND');
});
