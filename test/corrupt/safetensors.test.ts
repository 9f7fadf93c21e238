/** Every way a safetensors header can lie is refused, by the name of what is wrong. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import { MAX_HEADER_BYTES, readSafetensorsHeader } from '../../src/checkpoint/safetensors.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { entry, safetensorsBytes } from '../support/safetensors.ts';

const newDirectory = useTemporaryDirectories();

/** A header that claims `length` bytes, before `text`. */
function claiming(length: bigint, text = '{}'): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(8), Buffer.from(text)]);
  bytes.writeBigUInt64LE(length);
  return bytes;
}

const four = new Uint8Array(4);
const eight = new Uint8Array(8);
const valid = safetensorsBytes({ a: entry([1], 0, 4), b: entry([1], 4, 8) }, eight);

const ATTACKS: Record<string, { bytes: Uint8Array; field: string | RegExp }> = {
  'an empty file': { bytes: new Uint8Array(), field: 'header' },
  'a file shorter than a header length': { bytes: Buffer.alloc(7), field: 'header' },
  'a header length beyond the limit': {
    bytes: claiming(BigInt(MAX_HEADER_BYTES) + 1n),
    field: 'header',
  },
  'a header length of 2^64 - 1': { bytes: claiming(0xffff_ffff_ffff_ffffn), field: 'header' },
  'a header length beyond the file': { bytes: claiming(100n), field: 'header' },
  'a header of length 0': { bytes: claiming(0n), field: 'header' },
  'a header that starts with a space': { bytes: safetensorsBytes(' {}'), field: 'header' },
  'a header that is an array': { bytes: safetensorsBytes('[]'), field: 'header' },
  'a header that is no JSON': { bytes: safetensorsBytes('{"a":'), field: /header/ },
  'a header with trailing text': { bytes: safetensorsBytes('{} {}'), field: /header/ },
  'a header that is no UTF-8': {
    bytes: Buffer.concat([claiming(4n, ''), Buffer.from([0x7b, 0xff, 0xfe, 0x7d])]),
    field: /header/,
  },
  'a duplicate tensor': {
    bytes: safetensorsBytes(
      `{"a":${JSON.stringify(entry([1], 0, 4))},"a":${JSON.stringify(entry([1], 0, 4))}}`,
      four,
    ),
    field: 'a',
  },
  'a duplicate tensor behind an escape': {
    bytes: safetensorsBytes(
      `{"a":${JSON.stringify(entry([1], 0, 4))},"\\u0061":${JSON.stringify(entry([1], 0, 4))}}`,
      four,
    ),
    field: 'a',
  },
  'a duplicate key inside an entry': {
    bytes: safetensorsBytes(
      '{"a":{"dtype":"F32","shape":[1],"shape":[1],"data_offsets":[0,4]}}',
      four,
    ),
    field: 'shape',
  },
  'an entry that is a number': { bytes: safetensorsBytes({ a: 1 }), field: 'a' },
  'an entry with a further key': {
    bytes: safetensorsBytes({ a: { ...entry([1], 0, 4), strides: [1] } }, four),
    field: 'a',
  },
  'an unknown dtype': { bytes: safetensorsBytes({ a: entry([1], 0, 4, 'F33') }, four), field: 'a' },
  'a dtype named like an object property': {
    bytes: safetensorsBytes({ a: entry([1], 0, 4, 'constructor') }, four),
    field: 'a',
  },
  'no dtype': {
    bytes: safetensorsBytes({ a: { shape: [1], data_offsets: [0, 4] } }, four),
    field: 'a',
  },
  'a shape that is no array': {
    bytes: safetensorsBytes({ a: { dtype: 'F32', shape: 1, data_offsets: [0, 4] } }, four),
    field: 'a',
  },
  'a negative size': { bytes: safetensorsBytes({ a: entry([-1], 0, 4) }, four), field: 'a' },
  'a fractional size': { bytes: safetensorsBytes({ a: entry([0.5, 2], 0, 4) }, four), field: 'a' },
  'too many dimensions': {
    bytes: safetensorsBytes({ a: entry(Array(9).fill(1) as number[], 0, 4) }, four),
    field: 'a',
  },
  'a shape whose product overflows': {
    bytes: safetensorsBytes({ a: entry([2 ** 40, 2 ** 40], 0, 4) }, four),
    field: 'a',
  },
  'a shape whose product overflows 64 bits to the right size': {
    bytes: safetensorsBytes({ a: entry([2 ** 32, 2 ** 32, 4], 0, 0) }),
    field: 'a',
  },
  'descending offsets': { bytes: safetensorsBytes({ a: entry([1], 4, 0) }, four), field: 'a' },
  'negative offsets': { bytes: safetensorsBytes({ a: entry([1], -4, 0) }, four), field: 'a' },
  'a single offset': {
    bytes: safetensorsBytes({ a: { dtype: 'F32', shape: [1], data_offsets: [0] } }, four),
    field: 'a',
  },
  'offsets beyond 2^53': {
    bytes: safetensorsBytes(
      '{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,9007199254740993]}}',
    ),
    field: 'a',
  },
  'more bytes than the shape needs': {
    bytes: safetensorsBytes({ a: entry([1], 0, 8) }, eight),
    field: 'a',
  },
  'a tensor beyond the end': { bytes: safetensorsBytes({ a: entry([2], 0, 8) }, four), field: 'a' },
  'two tensors in the same place': {
    bytes: safetensorsBytes({ a: entry([1], 0, 4), b: entry([1], 0, 4) }, four),
    field: 'b',
  },
  'overlapping tensors': {
    bytes: safetensorsBytes({ a: entry([2], 0, 8), b: entry([1], 4, 8) }, eight),
    field: 'b',
  },
  'a hole between tensors': {
    bytes: safetensorsBytes({ a: entry([1], 0, 4), b: entry([1], 8, 12) }, new Uint8Array(12)),
    field: 'b',
  },
  'a hole before the first tensor': {
    bytes: safetensorsBytes({ a: entry([1], 4, 8) }, eight),
    field: 'a',
  },
  'bytes behind the last tensor': {
    bytes: safetensorsBytes({ a: entry([1], 0, 4) }, eight),
    field: /file\.safetensors/,
  },
  'metadata that is no map of strings': {
    bytes: safetensorsBytes({ __metadata__: { a: 1 } }),
    field: '__metadata__',
  },
};

describe('a safetensors file with', () => {
  test.each(Object.keys(ATTACKS))('%s', async (name) => {
    const attack = ATTACKS[name];
    const file = path.join(newDirectory(), 'file.safetensors');
    await writeFile(file, attack?.bytes ?? '');
    const error = await errorOf(() => readSafetensorsHeader(file));
    expect(error.code).toBe('INVALID_FILE');
    expect(error.field).toEqual(
      typeof attack?.field === 'string'
        ? attack.field
        : expect.stringMatching(attack?.field ?? /./),
    );
  });

  test.each(Array.from({ length: valid.length }, (_, i) => i))(
    'only its first %i bytes',
    async (n) => {
      const file = path.join(newDirectory(), 'file.safetensors');
      await writeFile(file, valid.subarray(0, n));
      expect((await errorOf(() => readSafetensorsHeader(file))).code).toBe('INVALID_FILE');
    },
  );

  test('nothing wrong is accepted, so the attacks above fail for their reason', async () => {
    const file = path.join(newDirectory(), 'file.safetensors');
    await writeFile(file, valid);
    expect([...(await readSafetensorsHeader(file)).tensors.keys()]).toEqual(['a', 'b']);
  });
});

test('random damage is refused or read, never a crash', async () => {
  const file = path.join(newDirectory(), 'file.safetensors');
  let refused = 0;
  for (let position = 0; position < valid.length - 8; ++position) {
    const damaged = Buffer.from(valid);
    damaged[position] = (damaged[position] ?? 0) ^ 0x15;
    await writeFile(file, damaged);
    try {
      await readSafetensorsHeader(file);
    } catch (error) {
      expect(error).toMatchObject({ name: 'WgqaError', code: 'INVALID_FILE' });
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(valid.length / 2);
});
