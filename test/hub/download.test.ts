/** Downloads that are cut, resumed, refused and proxied. */
import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync, writeFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:http';
import { connect, type AddressInfo, type Socket } from 'node:net';
import path from 'node:path';
import { expect, jest, test } from '@jest/globals';
import { resolveModel } from '../../src/index.ts';
import { programCommand, runChild } from '../support/child.ts';
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

const startOf = (range: string | undefined): number => Number(/\d+/.exec(range ?? '')?.[0]);

test('reports bytes that grow to the total', async () => {
  const seen: [number, number][] = [];
  await resolveModel(NAME, { onProgress: (done, total) => seen.push([done, total]) });
  const total = NEEDED.reduce(
    (sum, n) => sum + Buffer.from(FILES[n as keyof typeof FILES]).length,
    0,
  );
  expect(seen.at(-1)).toEqual([total, total]);
  expect(seen.every(([done, all], i) => all === total && done >= (seen[i - 1]?.[0] ?? 0))).toBe(
    true,
  );
});

// ------------------------------------------------------------------ connections

test('continues at the byte where connections were cut', async () => {
  hub.server.faults.set('model.safetensors', [{ cutAfter: 100_000 }, { cutAfter: 50_000 }]);
  await resolveModel(NAME);
  expect(readFileSync(blobOf(hub, WEIGHTS)).equals(WEIGHTS)).toBe(true);
  const ranges = hub.server
    .contentRequests('model.safetensors')
    .filter((r) => r.origin === 'storage');
  expect(ranges[0]?.range).toBeUndefined();
  // The last bytes before a cut may be lost on the way.
  const [first = 0, second = 0] = ranges.slice(1).map(({ range }) => startOf(range));
  expect(ranges).toHaveLength(3);
  expect(first).toBeGreaterThan(0);
  expect(first).toBeLessThanOrEqual(100_000);
  expect(second).toBeGreaterThanOrEqual(first);
  expect(second).toBeLessThanOrEqual(first + 50_000);
});

test('continues what an earlier process left, and checks all of it', async () => {
  mkdirSync(path.dirname(blobOf(hub, WEIGHTS)), { recursive: true });
  writeFileSync(`${blobOf(hub, WEIGHTS)}.incomplete`, WEIGHTS.subarray(0, 123_456));
  await resolveModel(NAME);
  expect(hub.server.contentRequests('model.safetensors')[0]?.range).toBe('bytes=123456-');
  expect(readFileSync(blobOf(hub, WEIGHTS)).equals(WEIGHTS)).toBe(true);
});

test.each([
  ['wrong bytes', randomBytes(123_456)],
  ['all bytes, wrong', randomBytes(WEIGHTS.length)],
  ['too many bytes', randomBytes(WEIGHTS.length + 1)],
])('begins again where an earlier process left %s', async (_, left) => {
  mkdirSync(path.dirname(blobOf(hub, WEIGHTS)), { recursive: true });
  writeFileSync(`${blobOf(hub, WEIGHTS)}.incomplete`, left);
  await resolveModel(NAME);
  expect(readFileSync(blobOf(hub, WEIGHTS)).equals(WEIGHTS)).toBe(true);
});

test('a server that takes no notice of ranges, or knows none, is read from the start', async () => {
  hub.server.faults.set('model.safetensors', [
    { cutAfter: 100_000 },
    { cutAfter: 50_000 },
    { status: 416 },
    { cutAfter: 200_000 },
    { ignoreRange: true },
  ]);
  await resolveModel(NAME);
  expect(readFileSync(blobOf(hub, WEIGHTS)).equals(WEIGHTS)).toBe(true);
});

test('a busy server is asked again; one that stays busy is named, and the next try continues', async () => {
  const busy = { status: 503, headers: { 'retry-after': '0' } };
  hub.server.faults.set('model.safetensors', [
    busy,
    { status: 429, headers: { 'retry-after': '0' } },
  ]);
  hub.server.faults.set(
    'config.json',
    Array.from({ length: 5 }, () => busy),
  );
  expect(await failure(NAME)).toMatchObject({
    code: 'NETWORK',
    message: contains(/answered with 503.*try again/),
  });
  expect(existsSync(path.join(folderOf(hub), 'refs/main'))).toBe(false);
  await resolveModel(NAME);
});

test('a server that falls silent is left after the timeout', async () => {
  process.env['HF_HUB_DOWNLOAD_TIMEOUT'] = '1';
  hub.server.faults.set('model.safetensors', [{ stall: () => undefined }]);
  await resolveModel(NAME);
  expect(readFileSync(blobOf(hub, WEIGHTS)).equals(WEIGHTS)).toBe(true);
});

test('an abort ends the download, and the next one continues', async () => {
  const controller = new AbortController();
  const stall = (): void => {
    controller.abort(new Error('enough'));
  };
  hub.server.faults.set('model.safetensors', [{ stall }]);
  const aborted = await failure(NAME, { signal: controller.signal });
  expect(aborted).toMatchObject({ code: 'ABORTED', cause: new Error('enough') });
  await resolveModel(NAME);
  expect((await failure(NAME, { signal: AbortSignal.abort() })).code).toBe('ABORTED');
});

test('no hub there: an error with the cure, or what the cache has, with a warning', async () => {
  process.env['HF_ENDPOINT'] = 'http://127.0.0.1:9';
  expect(await failure(NAME)).toMatchObject({
    code: 'NETWORK',
    message: contains(/cannot be reached .*HTTPS_PROXY and HF_ENDPOINT/),
  });
  process.env['HF_ENDPOINT'] = hub.server.endpoint;
  const directory = await resolveModel(NAME);
  process.env['HF_ENDPOINT'] = 'http://127.0.0.1:9';
  const warn = jest.spyOn(process, 'emitWarning').mockImplementation(() => undefined);
  expect(await resolveModel(NAME)).toBe(directory);
  expect(warn.mock.calls.flat()[0]).toContain(`Going on with ${NAME}@${hub.commit} of the cache`);
  warn.mockRestore();
});

// ------------------------------------------------------------------ refusals

test('content that is not what the listing promises is refused, and not kept', async () => {
  hub.server.faults.set('model.safetensors', [{ body: randomBytes(WEIGHTS.length) }]);
  expect(await failure(NAME)).toMatchObject({ code: 'INVALID_FILE', field: 'model.safetensors' });
  hub.server.faults.set('model.safetensors', [{ body: randomBytes(WEIGHTS.length + 10) }]);
  expect(await failure(NAME)).toMatchObject({
    code: 'INVALID_FILE',
    message: contains('more than the 300000 bytes'),
  });
  expect(existsSync(blobOf(hub, WEIGHTS))).toBe(false);
  await resolveModel(NAME);
  rmSync(folderOf(hub), { recursive: true });
  hub.server.faults.set('config.json', [{ body: Buffer.from('{"model_type": "t6"}') }]);
  expect(await failure(NAME)).toMatchObject({ code: 'INVALID_FILE', field: 'config.json' });
});

test.each([
  ['a way up', { path: '../../evil' }],
  ['an absolute path', { path: '/etc/passwd' }],
  ['a backslash', { path: 'a\\..\\b' }],
  ['a sum that is a path', { oid: '../../../evil' }],
  ['a large file whose sum is a path', { lfs: { oid: '../evil', size: 1 } }],
  ['a negative size', { size: -1 }],
  ['a size that is no number', { size: 'many' }],
])('a listing with %s is refused before anything is written', async (_, change) => {
  hub.server.listing = (entries) => [...entries, { ...(entries[0] as object), ...change }];
  expect(await failure(NAME)).toMatchObject({ code: 'INVALID_FILE', field: 'HF_ENDPOINT' });
  expect(existsSync(path.join(folderOf(hub), 'blobs'))).toBe(false);
});

test.each([[{}], [[null]], [7], [{ error: 'no' }]])(
  'a listing that is %j is refused',
  async (body) => {
    hub.server.listing = () => body;
    expect((await failure(NAME)).code).toBe('INVALID_FILE');
  },
);

test('an index that names files outside of the repository is refused', async () => {
  const index = JSON.stringify({ weight_map: { a: '../../../secret' } });
  hub.server.add(NAME, { files: { 'config.json': '{}', 'model.safetensors.index.json': index } });
  expect(await failure(NAME)).toMatchObject({ code: 'INVALID_FILE', field: '../../../secret' });
});

test('more bytes than the disk has are refused before the download', async () => {
  hub.server.listing = (entries) =>
    (entries as { path: string; lfs?: object }[]).map((entry) =>
      entry.path === 'model.safetensors'
        ? { ...entry, lfs: { ...entry.lfs, size: 2 ** 52 }, size: 2 ** 52 }
        : entry,
    );
  expect(await failure(NAME)).toMatchObject({
    code: 'NO_SPACE',
    field: path.join(hub.home, 'hub'),
  });
  expect(hub.server.contentRequests('model.safetensors')).toEqual([]);
});

test('a small file that is listed as a large one is refused', async () => {
  hub.server.listing = (entries) =>
    (entries as { path: string }[]).map((entry) =>
      entry.path === 'tokenizer.json' ? { ...entry, size: 300 << 20 } : entry,
    );
  expect(await failure(NAME)).toMatchObject({ code: 'INVALID_FILE', field: 'tokenizer.json' });
});

// ------------------------------------------------------------------ proxies and processes

test('HTTP_PROXY is gone through, NO_PROXY is not', async () => {
  const tunnels: string[] = [];
  const proxy = createServer();
  proxy.on('connect', (request, client: Socket, head: Buffer) => {
    tunnels.push(request.url ?? '');
    const [host, port] = (request.url ?? '').split(':');
    const server = connect(Number(port), host, () => {
      client.write('HTTP/1.1 200 Connection established\r\n\r\n');
      server.write(head);
      server.pipe(client).pipe(server);
    });
    server.on('error', () => client.destroy());
    client.on('error', () => server.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  try {
    process.env['HTTP_PROXY'] = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    await resolveModel(NAME);
    expect(new Set(tunnels).size).toBe(2);
    expect(tunnels).toContain(new URL(hub.server.endpoint).host);
    tunnels.length = 0;
    process.env['NO_PROXY'] = '127.0.0.1,localhost';
    rmSync(folderOf(hub), { recursive: true });
    await resolveModel(NAME);
    expect(tunnels).toEqual([]);
  } finally {
    await new Promise((resolve) => proxy.close(resolve));
  }
});

test('two processes download once', async () => {
  const command = programCommand('resolve-model.ts', [NAME, hub.server.endpoint, hub.home]);
  const [a, b] = await Promise.all([runChild(command), runChild(command)]);
  expect([a.stdout, b.stdout]).toEqual([a.stdout, a.stdout]);
  expect(a.stdout.trim()).toBe(path.join(folderOf(hub), 'snapshots', hub.commit));
  const asked = hub.server.contentRequests('model.safetensors');
  expect(asked.filter((r) => r.origin === 'storage')).toHaveLength(1);
});

test('a process killed in the middle holds no lock, and its bytes are kept', async () => {
  const stalled = new Promise<void>((resolve) => {
    hub.server.faults.set('model.safetensors', [{ cutAfter: 100_000 }, { stall: resolve }]);
  });
  const [command, ...args] = programCommand('resolve-model.ts', [
    NAME,
    hub.server.endpoint,
    hub.home,
  ]);
  const child = spawn(command, args, { stdio: 'ignore' });
  await stalled;
  child.kill('SIGKILL');
  await once(child, 'close');
  hub.server.requests.length = 0;
  await resolveModel(NAME);
  const [asked] = hub.server.contentRequests('model.safetensors');
  expect(startOf(asked?.range)).toBeGreaterThan(0);
  expect(readFileSync(blobOf(hub, WEIGHTS)).equals(WEIGHTS)).toBe(true);
});
