/** Parquet files that are damaged, and files made by hand that lie. */
import { describe, expect, test } from '@jest/globals';
import { readFileSync, truncateSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { gzipSync } from 'node:zlib';
import { readPairs, type TextPair } from '../../src/data/index.ts';
import { CounterRandom } from '../../src/data/random.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import {
  dataPage,
  dictionaryPage,
  page,
  parquetBytes,
  plain,
  thrift,
  varint,
  wrap,
  type MadeColumn,
  type ThriftFields,
} from './parquet-bytes.ts';
import { ARTICLES, collect, expected, fixture } from './parquet-fixtures.ts';

const newDirectory = useTemporaryDirectories();

function fileWith(bytes: Uint8Array): string {
  const file = path.join(newDirectory(), 'f.parquet');
  writeFileSync(file, bytes);
  return file;
}

describe('a damaged file gives what it held or a WgqaError:', () => {
  const CASES = 25;
  const damages = {
    'a bit flipped': (bytes: Buffer, random: CounterRandom) => {
      const at = random.nextBelow(bytes.length);
      bytes[at] = bytes[at]! ^ (1 << random.nextBelow(8));
      return bytes;
    },
    'bytes overwritten': (bytes: Buffer, random: CounterRandom) => {
      const at = random.nextBelow(bytes.length);
      const end = Math.min(at + 1 + random.nextBelow(8), bytes.length);
      return bytes.fill(random.nextBelow(256), at, end);
    },
    'the footer overwritten': (bytes: Buffer, random: CounterRandom) => {
      const footer = bytes.readUInt32LE(bytes.length - 8) + 8;
      const at = bytes.length - footer + random.nextBelow(footer);
      bytes[at] = random.nextBelow(256);
      return bytes;
    },
    'cut short': (bytes: Buffer, random: CounterRandom) =>
      bytes.subarray(0, random.nextBelow(bytes.length)),
    'bytes taken out': (bytes: Buffer, random: CounterRandom) => {
      const at = random.nextBelow(bytes.length);
      return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + random.nextBelow(64))]);
    },
  };
  // Without checksums a text may change unnoticed, as in any other format, but is still a text.
  const sound = {
    checksums: true,
    'checksums-v2': true,
    snappy: false,
    'none-plain': false,
    'gzip-v2': false,
    'brotli-plain': false,
  };
  const kinds = Object.entries(sound).flatMap(([name, isChecked]) =>
    Object.entries(damages).map(([damage, apply]) => ({ name, damage, apply, isChecked })),
  );
  test.each(kinds)('$name, $damage', async ({ name, apply, isChecked }) => {
    const whole = readFileSync(fixture(name));
    const file = path.join(newDirectory(), 'f.parquet');
    let refused = 0;
    for (let seed = 0; seed < CASES; seed += 1) {
      writeFileSync(file, apply(Buffer.from(whole), new CounterRandom(seed, 0)));
      const pairs: TextPair[] = [];
      const error = await collect(file, ARTICLES, pairs).then(
        () => undefined,
        (e: unknown) => e,
      );
      if (error !== undefined) {
        refused += 1;
        expect(error).toMatchObject({
          name: 'WgqaError',
          code: expect.stringMatching(/^(INVALID_FILE|UNSUPPORTED)$/),
          field: expect.stringMatching(/f\.parquet(:\d+)?$/),
        });
      } else {
        expect(pairs).toHaveLength(expected.articles.length);
      }
      if (isChecked) expect(pairs).toEqual(expected.articles.slice(0, pairs.length));
    }
    expect(refused).toBeGreaterThan(CASES / 20);
  });
});

const a: MadeColumn = { pages: [dataPage(plain('a'), 1)] };
const withDictionary = (indices: Uint8Array, count: number): MadeColumn => ({
  pages: [dictionaryPage(plain('a', 'c'), 2), dataPage(indices, count, 8)],
});
/** A run of `count` times `value` behind the width of 8 bits. */
const run = (count: number, value: number) =>
  Buffer.concat([Buffer.from([8]), varint(2 * count), Buffer.from([value])]);

test('a file made by hand is read', async () => {
  expect(await collect(fileWith(parquetBytes(a)))).toEqual([{ source: 'a', target: 'b' }]);
  const dictionary = parquetBytes(withDictionary(run(2, 1), 2), 2);
  expect(await collect(fileWith(dictionary))).toEqual(Array(2).fill({ source: 'c', target: 'b' }));
});

test('claimed rows take no memory, and reading them lets others run', async () => {
  const column = { pages: withDictionary(run(2 ** 30, 0), 2 ** 30).pages };
  const file = fileWith(parquetBytes(column, 2 ** 30));
  const others = { ran: false };
  setImmediate(() => (others.ran = true));
  let rows = 0;
  const options = { sourceField: 'source', targetField: 'source' };
  for await (const { source } of readPairs(file, options)) {
    rows += source.length;
    if (others.ran || rows === 1_000_000) break;
  }
  expect(others.ran).toBe(true);
});

describe('a lie is found before memory or time is spent on it:', () => {
  const deep: ThriftFields[] = Array.from({ length: 100 }, () => ({ 3: 0, 4: 'x', 5: 1 }));
  const nestedBytes = Buffer.alloc(20_000).fill(0x1c, 0, 10_000);
  const footerOf = (bytes: Uint8Array) => wrap(Buffer.alloc(0), bytes);
  const levels = (runLength: number) =>
    Buffer.concat([
      Buffer.from([6, 0, 0, 0]),
      varint(2 * runLength).subarray(0, 5),
      Buffer.alloc(1),
    ]);
  const snappy = (bytes: number[], size: number): MadeColumn => ({
    pages: [page(Buffer.from(bytes), { 2: size, 5: { 1: 1, 2: 0, 3: 3, 4: 3 } })],
    metadata: { 4: 1 },
  });
  const bomb = gzipSync(Buffer.alloc(10_000_000));
  const ROW = /f\.parquet:1$/;
  const FILE = /f\.parquet$/;
  const ATTACKS: Record<string, [Uint8Array, string, RegExp?]> = {
    'no bytes': [Buffer.alloc(0), 'too short', FILE],
    'another format': [Buffer.from('{"source": "a", "target": "b"}'), 'begin and end', FILE],
    'an end of another format': [
      Buffer.concat([parquetBytes(a), Buffer.alloc(4)]),
      'cut off',
      FILE,
    ],
    'a footer longer than the file': [
      Buffer.concat([parquetBytes(a).subarray(0, -8), Buffer.from('ffffffff50415231', 'hex')]),
      'longer than the file',
      FILE,
    ],
    'an endless integer': [footerOf(Buffer.alloc(5000, 0xff).fill(0x16, 0, 1)), '64 bits', FILE],
    'a list of two thousand million': [
      footerOf(Buffer.concat([Buffer.from([0x29, 0xfc]), varint(2 ** 31)])),
      'end within',
      FILE,
    ],
    'a text of two thousand million': [
      footerOf(Buffer.concat([Buffer.from([0x28]), varint(2 ** 31)])),
      'end within',
      FILE,
    ],
    'a footer of two million values': [
      footerOf(Buffer.concat([Buffer.from([0x29, 0xfc]), varint(2 ** 21), Buffer.alloc(2 ** 21)])),
      'too many values',
      FILE,
    ],
    'a footer of two million truths': [footerOf(Buffer.alloc(2 ** 21, 0x11)), 'too many', FILE],
    'structs in structs': [footerOf(nestedBytes), 'too deep', FILE],
    'columns in columns': [
      parquetBytes(a, 1, { 2: [{ 4: 's', 5: 1 }, ...deep] }),
      'too deep',
      FILE,
    ],
    'more columns than there are': [
      parquetBytes(a, 1, { 2: [{ 4: 's', 5: 2 ** 40 }] }),
      'schema ends early',
      FILE,
    ],
    'no schema': [footerOf(thrift({ 1: 1, 3: 0, 4: [] })), 'schema must be a list', FILE],
    'more rows than the groups have': [parquetBytes(a, 1, { 3: 2 }), 'as many rows', FILE],
    'fewer values than rows': [
      parquetBytes({ ...a, metadata: { 5: 2 } }),
      'as many values as rows',
    ],
    'a column outside the file': [
      parquetBytes({ ...a, metadata: { 9: 2 ** 50 } }),
      'outside the file',
    ],
    'a column of a negative size': [
      parquetBytes({ ...a, metadata: { 7: -1 } }),
      'an integer from 0',
    ],
    'a column without pages': [parquetBytes({ ...a, metadata: { 7: 0 } }), 'ends early'],
    'a column in another file': [
      parquetBytes({ ...a, chunk: { 1: '/etc/passwd' } }),
      'other files',
    ],
    'an encrypted column': [parquetBytes({ ...a, chunk: { 8: {} } }), 'encrypted'],
    'a compression that is not': [parquetBytes({ ...a, metadata: { 4: 99 } }), 'no compression 99'],
    'a page of one GiB': [
      parquetBytes({ pages: [page(plain('a'), { 2: 2 ** 30, 5: { 1: 1, 2: 0, 3: 3 } })] }),
      'over 134217728 bytes',
    ],
    'a page longer than its column': [
      parquetBytes({ pages: [page(plain('a'), { 3: 2 ** 20, 5: { 1: 1, 2: 0, 3: 3 } })] }),
      'longer than its column',
    ],
    'a page of another size': [
      parquetBytes({ pages: [page(plain('a'), { 2: 6, 5: { 1: 1, 2: 0, 3: 3 } })] }),
      'another size',
    ],
    'a false checksum': [
      parquetBytes({ pages: [page(plain('a'), { 4: 1, 5: { 1: 1, 2: 0, 3: 3 } })] }),
      'checksum',
    ],
    'a page with more values than rows': [
      parquetBytes({ pages: [dataPage(plain('a', 'a'), 2)] }),
      'more values than rows',
    ],
    'pages with fewer values than rows': [
      parquetBytes({ pages: [dataPage(Buffer.alloc(0), 0)] }),
      'ends early',
    ],
    'a value longer than its page': [
      parquetBytes({ pages: [dataPage(Buffer.from([9, 0, 0, 0, 97]), 1)] }),
      'end within',
    ],
    'fewer texts than values': [parquetBytes({ pages: [dataPage(plain(), 1)] }), 'end within'],
    'a text that is no UTF-8': [
      parquetBytes({ pages: [dataPage(plain(Buffer.from([0xff])), 1)] }),
      'UTF-8',
    ],
    'two thousand million nulls in a run': [
      parquetBytes({ pages: [dataPage(levels(2 ** 31), 1)], element: { 3: 1 } }),
      '"source" must be text',
    ],
    'levels longer than their page': [
      parquetBytes({ pages: [dataPage(Buffer.alloc(4, 0xff), 1)], element: { 3: 1 } }),
      'end within',
    ],
    'levels in an old encoding': [
      parquetBytes({
        pages: [page(plain('a'), { 5: { 1: 1, 2: 0, 3: 4 } })],
        element: { 3: 1 },
      }),
      'BIT_PACKED',
    ],
    'levels of version 2 longer than their page': [
      parquetBytes({ pages: [page(plain('a'), { 1: 3, 8: { 1: 1, 4: 0, 5: 2 ** 30, 6: 0 } })] }),
      'end within',
    ],
    'a dictionary of a thousand million': [
      parquetBytes({ pages: [dictionaryPage(plain('a'), 1e9), dataPage(run(1, 0), 1, 8)] }),
      'dictionary is shorter',
    ],
    'two dictionaries': [
      parquetBytes({ pages: [dictionaryPage(plain('a'), 1), dictionaryPage(plain('a'), 1)] }),
      'two dictionaries',
    ],
    'no dictionary': [parquetBytes({ pages: [dataPage(run(1, 0), 1, 8)] }), 'lacks its dictionary'],
    'an index past the dictionary': [parquetBytes(withDictionary(run(1, 2), 1)), 'not in its'],
    'indices of 33 bits': [parquetBytes(withDictionary(Buffer.from([33, 2, 0]), 1)), '32 bits'],
    'packed indices that end early': [
      parquetBytes(withDictionary(Buffer.from([8, 0xff, 0xff, 0xff, 0xff, 0x0f]), 1)),
      'end within',
    ],
    'runs of nothing': [
      parquetBytes(withDictionary(Buffer.concat([Buffer.from([8]), Buffer.alloc(100_000)]), 1)),
      'a run is empty',
    ],
    'a gzip bomb': [
      parquetBytes({
        pages: [page(bomb, { 2: 100, 5: { 1: 1, 2: 0, 3: 3 } })],
        metadata: { 4: 2 },
      }),
      'no whole gzip stream of the size',
    ],
    'no gzip stream': [parquetBytes({ ...a, metadata: { 4: 2 } }), 'no whole gzip stream'],
    'snappy: another size': [parquetBytes(snappy([9, 0], 5)), 'another size'],
    'snappy: too little': [parquetBytes(snappy([5, 0, 1], 5)), 'ends early'],
    'snappy: too much': [parquetBytes(snappy([1, 4, 1, 1], 1)), 'longer than its size'],
    'snappy: a literal past the end': [parquetBytes(snappy([5, 16, 1], 5)), 'end within'],
    'snappy: a literal of four thousand million': [
      parquetBytes(snappy([5, 0xfc, 0xfa, 0xff, 0xff, 0xff, 0, 0], 5)),
      'end within',
    ],
    'snappy: a copy from before the start': [
      parquetBytes(snappy([5, 0, 1, 0x0e, 9, 0], 5)),
      'from nowhere',
    ],
  };
  test.each(Object.entries(ATTACKS))('%s', async (_, [bytes, message, field = ROW]) => {
    const error = await errorOf(() => collect(fileWith(bytes)));
    expect(error.message).toContain(message);
    expect(error.code).toMatch(/^(INVALID_FILE|UNSUPPORTED)$/);
    expect(error.field).toMatch(field);
  });

  test('a footer over the limit', async () => {
    const file = fileWith(Buffer.from('PAR1'));
    truncateSync(file, 2 ** 25); // all holes
    const tail = Buffer.alloc(8);
    tail.writeUInt32LE(2 ** 24 + 1);
    tail.write('PAR1', 4);
    writeFileSync(file, tail, { flag: 'a' });
    const error = await errorOf(() => collect(file));
    expect(error).toMatchObject({ code: 'INVALID_FILE', field: file });
    expect(error.message).toContain('over 16777216 bytes');
  });
});

test('a page header of over 65,536 bytes, which statistics may fill, is read', async () => {
  const header = { 5: { 1: 1, 2: 0, 3: 3, 4: 3, 5: { 1: 'x'.repeat(100_000) } } };
  const file = fileWith(parquetBytes({ pages: [page(plain('a'), header)] }));
  expect(await collect(file)).toEqual([{ source: 'a', target: 'b' }]);
});
