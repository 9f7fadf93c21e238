/** Which type is chosen, with steps that are timed by the test. */
import { beforeEach, describe, expect, test } from '@jest/globals';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { admittedDtypes, widestDtype } from '../../src/dtype/admitted.ts';
import {
  chooseDtype,
  fastest,
  type ChoiceRequest,
  type Surroundings,
} from '../../src/dtype/choose.ts';
import { userCacheDirectory, type StepMilliseconds } from '../../src/dtype/remembered.ts';
import { parseConfig } from '../../src/checkpoint/config.ts';
import { toNativeConfig } from '../../src/model/native-config.ts';
import { invalidArgument, WgqaError } from '../../src/errors.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { TINY_V10 } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();

const CONFIG = toNativeConfig(parseConfig(TINY_V10, invalidArgument));
const TIMES = { float32: 4, bfloat16: 3, int8: 2 };

interface Call {
  readonly rows: number;
  readonly threads: number;
}

let calls: Call[];
let directory: string;
beforeEach(() => {
  calls = [];
  directory = newDirectory();
});

function around(
  changes: Partial<Surroundings> = {},
  times: StepMilliseconds = TIMES,
): Surroundings {
  return {
    processor: 'a processor',
    isa: 'avx2',
    threads: 2,
    version: '1.0.0',
    cacheDirectory: directory,
    resolveDevice: (device) => Promise.resolve(device === 'auto' ? 'cpu' : device),
    measure: (_, rows, threads) => {
      calls.push({ rows, threads });
      return Promise.resolve(times);
    },
    ...changes,
  };
}

const REQUEST: ChoiceRequest = {
  config: CONFIG,
  fileDtype: 'bfloat16',
  accuracy: 'int8',
  expectedBatch: 8,
  device: 'auto',
  threads: 0,
};

describe('what accuracy admits', () => {
  test.each([
    ['float32', undefined, 'cpu', ['float32']],
    ['float16', undefined, 'cpu', ['float32']],
    ['bfloat16', undefined, 'cpu', ['float32', 'bfloat16']],
    ['float16', undefined, 'cuda', ['float32', 'float16']],
    ['bfloat16', undefined, 'cuda', ['float32', 'bfloat16']],
    ['float32', 'bfloat16', 'cpu', ['float32', 'bfloat16']],
    ['float32', 'int8', 'cpu', ['float32', 'bfloat16', 'int8']],
    ['bfloat16', 'float32', 'cpu', ['float32']],
    ['float32', 'int8', 'cuda', ['float32', 'float16', 'bfloat16', 'int8']],
  ] as const)('a file in %s, accuracy %s, on %s: %j', (file, accuracy, device, expected) => {
    expect(admittedDtypes(file, accuracy, device)).toEqual(expected);
  });

  test('a file of several types is as exact as float32', () => {
    expect(widestDtype(['bfloat16', 'bfloat16'])).toBe('bfloat16');
    expect(widestDtype(['bfloat16', 'float16'])).toBe('float32');
    expect(widestDtype(['bfloat16', 'float32'])).toBe('float32');
    expect(widestDtype([])).toBe('float32');
  });
});

describe('the choice', () => {
  test.each([
    ['int8', undefined, 'int8'],
    ['bfloat16', undefined, 'bfloat16'],
    ['float32', undefined, 'float32'],
    [undefined, 'bfloat16', 'bfloat16'],
    [undefined, 'float32', 'float32'],
  ] as const)('with accuracy %s, of a file in %s: %s', async (accuracy, file, expected) => {
    const request = { ...REQUEST, accuracy, ...(file && { fileDtype: file }) };
    expect(await chooseDtype(request, around())).toMatchObject({ dtype: expected, device: 'cpu' });
  });

  test('is measured only where there is one, and says why', async () => {
    const only = await chooseDtype({ ...REQUEST, accuracy: 'float32' }, around());
    expect(only).toEqual({
      dtype: 'float32',
      admitted: ['float32'],
      device: 'cpu',
      expectedBatch: 8,
      reason: "float32 is the only type that accuracy 'float32' admits",
    });
    expect(calls).toEqual([]);
    const { measured, reason } = await chooseDtype(REQUEST, around());
    expect(measured).toEqual(TIMES);
    expect(reason).toContain('float32 4.00, bfloat16 3.00, int8 2.00 ms');
  });

  test('takes a less exact type only for a gain, and none that was not measured', () => {
    const all = ['float32', 'bfloat16', 'int8'] as const;
    expect(fastest(all, { float32: 4, bfloat16: 3.98, int8: 3.97 })).toBe('float32');
    expect(fastest(all, { float32: 4, bfloat16: 3.9, int8: 3.89 })).toBe('bfloat16');
    expect(fastest(all, { float32: 4, bfloat16: 5, int8: 3.9 })).toBe('int8');
    expect(fastest(all, { float32: 4, int8: 5 })).toBe('float32');
    expect(fastest(['float32', 'bfloat16'], { float32: 4, int8: 1 })).toBe('float32');
  });

  test.each([
    ['bfloat16', undefined, 'bfloat16'],
    ['float16', undefined, 'float16'],
    ['float16', 'int8', 'float16'],
    ['float32', undefined, 'float32'],
    ['float32', 'int8', 'bfloat16'],
  ] as const)('on a GPU, a file in %s, accuracy %s: %s', async (fileDtype, accuracy, expected) => {
    const request = { ...REQUEST, fileDtype, accuracy, device: 'cuda' } as const;
    expect((await chooseDtype(request, around())).dtype).toBe(expected);
    expect(calls).toEqual([]);
  });

  test('fails as the device does, and a failed measurement is made again', async () => {
    const none = new WgqaError('UNSUPPORTED', 'no GPU', { field: 'device' });
    const without = around({ resolveDevice: () => Promise.reject(none) });
    expect(await errorOf(() => chooseDtype(REQUEST, without))).toBe(none);
    const tooLarge = new WgqaError('OUT_OF_MEMORY', 'no memory');
    const failing = around({ measure: () => Promise.reject(tooLarge) });
    expect(await errorOf(() => chooseDtype(REQUEST, failing))).toBe(tooLarge);
    expect((await chooseDtype(REQUEST, around())).dtype).toBe('int8');
  });
});

describe('what was measured', () => {
  /** As a later process would ask: nothing of this one's memory is left where the folder is new. */
  async function again(changes: Partial<Surroundings> = {}): Promise<void> {
    await chooseDtype(REQUEST, around(changes));
  }

  function files(): string[] {
    return readdirSync(path.join(directory, 'step-times')).map((name) =>
      path.join(directory, 'step-times', name),
    );
  }

  /** Moves to a folder with the same files, which this process has not seen. */
  function moveOn(change: (text: string) => string = (text) => text): void {
    const texts = files().map((file) => [path.basename(file), readFileSync(file, 'utf8')] as const);
    directory = newDirectory();
    mkdirSync(path.join(directory, 'step-times'));
    for (const [name, text] of texts) {
      writeFileSync(path.join(directory, 'step-times', name), change(text));
    }
  }

  test('is measured once for many at once, and for later processes', async () => {
    await Promise.all([again(), again(), again()]);
    expect(calls).toEqual([{ rows: 8, threads: 2 }]);
    expect(files()).toHaveLength(1);
    moveOn();
    await again();
    expect(calls).toHaveLength(1);
  });

  test('belongs to a processor, instruction set, threads, version, batch and shape', async () => {
    await again();
    for (const changes of [
      { processor: 'another' },
      { isa: 'avx512' },
      { threads: 4 },
      { version: '1.0.1' },
    ]) {
      const before = calls.length;
      await again(changes);
      expect(calls).toHaveLength(before + 1);
    }
    await chooseDtype({ ...REQUEST, threads: 3 }, around());
    await chooseDtype({ ...REQUEST, expectedBatch: 17 }, around());
    await chooseDtype({ ...REQUEST, config: { ...CONFIG, dFf: 64 } }, around());
    expect(calls.slice(-3)).toEqual([
      { rows: 8, threads: 3 },
      { rows: 32, threads: 2 },
      { rows: 8, threads: 2 },
    ]);
    const count = calls.length;
    // What does not change a step does not count.
    await chooseDtype({ ...REQUEST, fileDtype: 'float32', accuracy: 'bfloat16' }, around());
    await chooseDtype({ ...REQUEST, expectedBatch: 7 }, around());
    await chooseDtype({ ...REQUEST, config: { ...CONFIG, encoderLayers: 9 } }, around());
    await chooseDtype({ ...REQUEST, threads: 2 }, around());
    expect(calls).toHaveLength(count);
  });

  test.each([
    ['nothing', () => ''],
    ['half of it', (text: string) => text.slice(0, text.length / 2)],
    ['no object', () => 'null'],
    ['another key', (text: string) => text.replace('a processor', 'b processor')],
    ['no float32', (text: string) => text.replace('"float32"', '"bfloat16"')],
    ['a negative time', (text: string) => text.replace('"int8": 2', '"int8": -2')],
    ['a time in words', (text: string) => text.replace('"int8": 2', '"int8": "soon"')],
    ['an infinite time', (text: string) => text.replace('"int8": 2', '"int8": 1e999')],
    ['an unknown type', (text: string) => text.replace('"int8"', '"int4"')],
    ['far too much', (text: string) => text + ' '.repeat(1 << 17)],
  ])('a file that holds %s is measured and written anew', async (_, change) => {
    await again();
    const [whole] = files().map((file) => readFileSync(file, 'utf8'));
    moveOn(change);
    await again();
    expect(calls).toHaveLength(2);
    expect(files().map((file) => readFileSync(file, 'utf8'))).toEqual([whole]);
  });

  test('needs no folder that can be written', async () => {
    // A file in the place of the folder: no right to write is needed to test it, root has all.
    const blocked = path.join(directory, 'file');
    writeFileSync(blocked, '');
    const cacheDirectory = path.join(blocked, 'cache');
    expect(await chooseDtype(REQUEST, around({ cacheDirectory }))).toMatchObject({ dtype: 'int8' });
    await chooseDtype(REQUEST, around({ cacheDirectory }));
    expect(calls).toHaveLength(1);
    expect(readdirSync(directory)).toEqual(['file']);
  });

  test('leaves no temporary file behind', async () => {
    await again();
    expect(files().map((file) => path.extname(file))).toEqual(['.json']);
  });
});

test('the cache is where the system has it', () => {
  expect(userCacheDirectory({ XDG_CACHE_HOME: '/x' }, 'linux')).toBe(path.join('/x', 'wgqa'));
  expect(userCacheDirectory({ XDG_CACHE_HOME: 'relative' }, 'linux')).toMatch(/\.cache.wgqa$/);
  expect(userCacheDirectory({}, 'darwin')).toMatch(/Library.Caches.wgqa$/);
  expect(userCacheDirectory({ LOCALAPPDATA: '/l' }, 'win32')).toMatch(/^.l.wgqa.Cache$/);
});
