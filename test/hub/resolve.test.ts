/** Names of the hub become directories of the cache. */
import { createHash, randomBytes } from 'node:crypto';
import {
  chmodSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import path from 'node:path';
import { expect, test } from '@jest/globals';
import { resolveModel, type ResolveModelOptions } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import {
  blobOf,
  contains,
  failure,
  FILES,
  folderOf,
  NAME,
  NEEDED,
  useHub,
  WEIGHTS,
} from './fixtures.ts';

const hub = useHub();
const makeDirectory = useTemporaryDirectories();

test('downloads what the model needs, and no more, in the layout of the Python library', async () => {
  const directory = await resolveModel(NAME);
  expect(directory).toBe(path.join(folderOf(hub), 'snapshots', hub.commit));
  expect(readdirSync(directory).sort()).toEqual(NEEDED);
  for (const name of NEEDED) {
    const content = Buffer.from(FILES[name as keyof typeof FILES]);
    expect(readFileSync(path.join(directory, name)).equals(content)).toBe(true);
  }
  const sha1 = createHash('sha1').update('blob 20\0{"model_type": "t5"}').digest('hex');
  expect(readlinkSync(path.join(directory, 'config.json'))).toBe(`../../blobs/${sha1}`);
  expect(lstatSync(blobOf(hub, WEIGHTS)).size).toBe(WEIGHTS.length);
  expect(readFileSync(path.join(folderOf(hub), 'refs/main'), 'utf8')).toBe(hub.commit);
  expect(readdirSync(path.join(folderOf(hub), 'blobs')).filter((n) => n.includes('.'))).toEqual([]);
  const tree = JSON.parse(
    readFileSync(path.join(folderOf(hub), 'trees', `${hub.commit}.json`), 'utf8'),
  ) as {
    files: Record<string, unknown>;
  };
  expect(Object.keys(tree.files).sort()).toEqual(Object.keys(FILES).sort());
});

test('downloads nothing a second time', async () => {
  await resolveModel(NAME);
  hub.server.requests.length = 0;
  await resolveModel(NAME);
  expect(hub.server.requests.map(({ path: p }) => p)).toEqual([
    `/api/models/${NAME}/revision/main`,
  ]);
  await resolveModel(`${NAME}@${hub.commit}`);
  expect(hub.server.requests).toHaveLength(1);
});

test.each(['v1.0', 'feature/a'])(
  'takes revision %s from the name and as an option',
  async (tag) => {
    const directory = await resolveModel(`${NAME}@${tag}`);
    expect(readFileSync(path.join(folderOf(hub), 'refs', tag), 'utf8')).toBe(hub.commit);
    expect(await resolveModel(NAME, { revision: tag })).toBe(directory);
    expect(await resolveModel(NAME, { revision: tag, offline: true })).toBe(directory);
  },
);

test('takes the addresses that people paste', async () => {
  const directory = await resolveModel(NAME);
  for (const address of [
    `hf://${NAME}`,
    `https://huggingface.co/${NAME}`,
    `https://huggingface.co/${NAME}/tree/main`,
    `https://hf.co/${NAME}/?x=1#files`,
  ]) {
    expect(await resolveModel(address)).toBe(directory);
  }
});

test('a branch that moved is downloaded, and only what is new of it', async () => {
  const old = await resolveModel(NAME);
  const moved = hub.server.add(NAME, { files: { ...FILES, 'config.json': '{"a": 1}' } });
  hub.server.requests.length = 0;
  expect(await resolveModel(NAME)).toBe(path.join(folderOf(hub), 'snapshots', moved));
  expect(hub.server.contentRequests('model.safetensors')).toEqual([]);
  expect(hub.server.contentRequests('config.json')).toHaveLength(1);
  expect(readFileSync(path.join(old, 'config.json'), 'utf8')).toBe(FILES['config.json']);
});

test('shards: those of the index, and safetensors before .bin', async () => {
  const index = {
    weight_map: { a: 'model-1.safetensors', b: 'model-2.safetensors', c: 'model-1.safetensors' },
  };
  hub.server.add(NAME, {
    files: {
      'config.json': '{}',
      'model.safetensors.index.json': JSON.stringify(index),
      'model-1.safetensors': randomBytes(10),
      'model-2.safetensors': randomBytes(10),
      'model-3.safetensors': randomBytes(10),
      'pytorch_model.bin': randomBytes(10),
    },
  });
  expect(readdirSync(await resolveModel(NAME)).sort()).toEqual([
    'config.json',
    'model-1.safetensors',
    'model-2.safetensors',
    'model.safetensors.index.json',
  ]);
});

test('.bin where there is nothing better; otherwise it says what there is', async () => {
  hub.server.add(NAME, {
    files: { 'config.json': '{}', 'pytorch_model.bin': 'x', 'tf_model.h5': 'y' },
  });
  expect(readdirSync(await resolveModel(NAME)).sort()).toEqual([
    'config.json',
    'pytorch_model.bin',
  ]);
  hub.server.add(NAME, { files: { 'config.json': '{}', 'tf_model.h5': 'y' } });
  expect(await failure(NAME)).toMatchObject({
    code: 'UNSUPPORTED',
    message: contains('tf_model.h5'),
  });
  hub.server.add(NAME, {
    files: { 'adapter_config.json': '{}', 'adapter_model.safetensors': 'y' },
  });
  expect((await failure(NAME)).message).toContain('no config.json; it has adapter_config.json');
});

test('reads a listing of many pages', async () => {
  hub.server.pageSize = 2;
  expect(readdirSync(await resolveModel(NAME)).sort()).toEqual(NEEDED);
});

test('what does not exist is named', async () => {
  const unknown = await failure('org/nothing');
  expect(unknown.code).toBe('NOT_FOUND');
  expect(unknown.message).toMatch(/neither a directory here nor a model of .*HF_TOKEN/);
  expect(await failure(`${NAME}@v9`)).toMatchObject({ code: 'NOT_FOUND', field: 'revision' });
  const misspelt = await failure('t5-small');
  expect(misspelt.code).toBe('NOT_FOUND');
  expect(misspelt.message).toContain('org/name');
  expect((await failure('/no/such/directory')).code).toBe('NOT_FOUND');
  expect((await failure('./a\0b')).code).toBe('NOT_FOUND');
});

test('options and names that make no sense are refused', async () => {
  expect(await failure(`${NAME}@../../x`)).toMatchObject({
    code: 'INVALID_ARGUMENT',
    field: 'revision',
  });
  expect(await failure(NAME, { revision: 'a..b' })).toMatchObject({ field: 'revision' });
  expect(await failure(`${NAME}@v1.0`, { revision: 'main' })).toMatchObject({ field: 'revision' });
  expect(await failure(hub.home, { revision: 'main' })).toMatchObject({ field: 'revision' });
  expect(await failure(NAME, { cache: hub.home } as ResolveModelOptions)).toMatchObject({
    field: 'cache',
  });
  expect(await failure('')).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'directory' });
  process.env['HF_ENDPOINT'] = 'huggingface.co';
  expect(await failure(NAME)).toMatchObject({ code: 'INVALID_ARGUMENT', field: 'HF_ENDPOINT' });
});

// ------------------------------------------------------------------ tokens

test('a gated model: HF_TOKEN, its older name, or the token file; and never to another origin', async () => {
  hub.server.add('org/gated', { files: FILES, gated: true, token: 'hf_right' });
  const without = await failure('org/gated');
  expect(without.code).toBe('ACCESS_DENIED');
  expect(without.message).toMatch(/gated: .*set HF_TOKEN/);
  process.env['HF_TOKEN'] = 'hf_wrong';
  expect((await failure('org/gated')).message).toContain('the account whose token');
  process.env['HF_TOKEN'] = ' hf_right\n';
  hub.server.requests.length = 0;
  await resolveModel('org/gated');
  expect(new Set(hub.server.requests.map((r) => `${r.origin} ${String(r.authorization)}`))).toEqual(
    new Set(['hub Bearer hf_right', 'storage undefined']),
  );
  for (const set of [
    () => (process.env['HUGGING_FACE_HUB_TOKEN'] = 'hf_right'),
    () => {
      delete process.env['HUGGING_FACE_HUB_TOKEN'];
      writeFileSync(path.join(hub.home, 'token'), 'hf_right\n');
    },
  ]) {
    delete process.env['HF_TOKEN'];
    set();
    rmSync(folderOf(hub, 'org/gated'), { recursive: true });
    await resolveModel('org/gated');
  }
  process.env['HF_HUB_DISABLE_IMPLICIT_TOKEN'] = '1';
  rmSync(folderOf(hub, 'org/gated'), { recursive: true });
  expect((await failure('org/gated')).code).toBe('ACCESS_DENIED');
});

test('a token that no header can hold is refused without being shown', async () => {
  process.env['HF_TOKEN'] = 'hf_a\nX-Evil: 1';
  const { code, field, message } = await failure(NAME);
  expect([code, field]).toEqual(['INVALID_ARGUMENT', 'HF_TOKEN']);
  expect(message).not.toContain('hf_a');
});

// ------------------------------------------------------------------ the cache

test('offline: the cache, or an error that says how to fill it', async () => {
  process.env['HF_HUB_OFFLINE'] = '1';
  expect(await failure(NAME)).toMatchObject({
    code: 'NOT_FOUND',
    message: contains('wgqa pull org/model@main'),
  });
  const directory = await resolveModel(NAME, { offline: false });
  expect(await resolveModel(NAME)).toBe(directory);
  rmSync(path.join(directory, 'model.safetensors'));
  // The content is still there, and is linked again.
  expect(await resolveModel(NAME)).toBe(directory);
  rmSync(blobOf(hub, WEIGHTS));
  expect((await failure(NAME)).message).toContain('model.safetensors is missing');
});

test('what older versions of the Python library left is found offline, if it is whole', async () => {
  const directory = await resolveModel(NAME);
  rmSync(path.join(folderOf(hub), 'trees'), { recursive: true });
  expect(await resolveModel(NAME, { offline: true })).toBe(directory);
  rmSync(path.join(directory, 'model.safetensors'));
  expect((await failure(NAME, { offline: true })).code).toBe('NOT_FOUND');
});

test('HF_HUB_CACHE and cacheDir say where the cache is', async () => {
  const [named, given] = [makeDirectory(), makeDirectory()];
  process.env['HF_HUB_CACHE'] = named;
  expect(path.dirname(await resolveModel(NAME))).toBe(`${named}/models--org--model/snapshots`);
  const directory = await resolveModel(NAME, { cacheDir: given });
  expect(path.dirname(directory)).toBe(`${given}/models--org--model/snapshots`);
});

test('a directory of that name wins, and nothing is asked of the hub', async () => {
  const before = process.cwd();
  const place = makeDirectory();
  mkdirSync(path.join(place, NAME), { recursive: true });
  process.chdir(place);
  try {
    expect(await resolveModel(NAME)).toBe(NAME);
  } finally {
    process.chdir(before);
  }
  expect(hub.server.requests).toEqual([]);
});

test('a cache that cannot be written is an error of the disk; as a whole one it serves', async () => {
  writeFileSync(path.join(hub.home, 'hub'), 'a file');
  expect((await failure(NAME)).code).toBe('IO');
  rmSync(path.join(hub.home, 'hub'));
  const directory = await resolveModel(NAME);
  chmodSync(path.join(folderOf(hub), 'refs'), 0o500);
  expect(await resolveModel(NAME)).toBe(directory);
  chmodSync(path.join(folderOf(hub), 'refs'), 0o700);
});

test('requests at the same time share one download', async () => {
  const [a, b] = await Promise.all([resolveModel(NAME), resolveModel(NAME)]);
  expect(a).toBe(b);
  const asked = hub.server
    .contentRequests('model.safetensors')
    .filter((r) => r.origin === 'storage');
  expect(asked).toHaveLength(1);
});
