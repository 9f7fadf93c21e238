/** Parquet files that pyarrow wrote, and what of them is refused. */
import { describe, expect, test } from '@jest/globals';
import { createHash } from 'node:crypto';
import { copyFile } from 'node:fs/promises';
import path from 'node:path';
import type { TextPair } from '../../src/data/index.ts';
import { ZSTD_IS_SUPPORTED } from '../../src/data/parquet/codecs.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { ARTICLES, collect, expected, fixture } from './parquet-fixtures.ts';

const TRANSLATIONS = { sourceField: 'translation.en', targetField: 'translation.de' };

const newDirectory = useTemporaryDirectories();

describe('what pyarrow wrote is read, in several row groups and pages:', () => {
  const names = ['snappy', 'none-plain', 'gzip-v2', 'brotli-plain', 'required', 'checksums'];
  test.each([...names, 'checksums-v2'])('%s', async (name) => {
    expect(await collect(fixture(name), ARTICLES)).toEqual(expected.articles);
  });

  test('zstd, or on a Node that lacks it an error that says so', async () => {
    const reading = collect(fixture('zstd'), ARTICLES);
    if (ZSTD_IS_SUPPORTED) {
      expect(await reading).toEqual(expected.articles);
      return;
    }
    const error = await errorOf(() => reading);
    expect(error).toMatchObject({ code: 'UNSUPPORTED', field: `${fixture('zstd')}:1` });
    expect(error.message).toContain('22.15');
  });

  test('long texts, compressed with all that snappy has', async () => {
    const pairs = await collect(fixture('long'), ARTICLES);
    const hashes = pairs.map(({ source, target }) =>
      createHash('sha256')
        .update(source + target)
        .digest('hex'),
    );
    expect(hashes).toEqual(expected.long);
  });

  test('more rows than asked for are refused by what the file declares', async () => {
    const count = expected.articles.length;
    const all = await collect(fixture('snappy'), { ...ARTICLES, maxPairs: count });
    expect(all).toHaveLength(count);
    const file = fixture('snappy');
    await expect(collect(file, { ...ARTICLES, maxPairs: count - 1 })).rejects.toMatchObject({
      code: 'OUT_OF_MEMORY',
      field: file,
    });
  });

  test('no rows', async () => {
    expect(await collect(fixture('empty'), ARTICLES)).toEqual([]);
  });

  test('members of structs by a dotted path, but for a column of that name', async () => {
    expect(await collect(fixture('translation'), TRANSLATIONS)).toEqual(expected.translations);
    expect(await collect(fixture('dotted'), TRANSLATIONS)).toEqual(expected.dotted);
  });

  test('under any name, with a prefix', async () => {
    const file = path.join(newDirectory(), 'train-00000-of-00001');
    await copyFile(fixture('snappy'), file);
    const options = { ...ARTICLES, format: 'parquet', prefix: 'summarize: ' } as const;
    const [first] = await collect(file, options);
    expect(first?.source).toBe(`summarize: ${expected.articles[0]?.source ?? ''}`);
  });
});

describe('what pyarrow wrote is refused where it is no text, and named:', () => {
  test('a null, and a null struct, with their row; the rows before are read', async () => {
    for (const [name, options, row] of [
      ['null', ARTICLES, 17],
      ['null-struct', TRANSLATIONS, 6],
    ] as const) {
      const pairs: TextPair[] = [];
      const error = await errorOf(() => collect(fixture(name), options, pairs));
      const field = `${fixture(name)}:${String(row)}`;
      expect(error).toMatchObject({ code: 'INVALID_FILE', field });
      expect(pairs).toHaveLength(row - 1);
    }
  });

  test.each([
    ['snappy', 'id', 'must hold text'],
    ['translation', 'bytes', 'must hold text'],
    ['translation', 'list', 'must hold text'],
    ['translation', 'list.list.element', 'must hold text'],
    ['translation', 'translation', 'must hold text'],
    ['translation', 'translation.fr', 'translation.de, translation.en, list.list.element, bytes'],
    ['translation', 'translation.en.x', 'no column'],
    ['snappy', 'Article', 'among: article, highlights, id'],
  ])('%s, column %s', async (name, sourceField, message) => {
    const error = await errorOf(() => collect(fixture(name), { sourceField }));
    expect(error).toMatchObject({ code: 'INVALID_FILE', field: fixture(name) });
    expect(error.message).toContain(message);
  });

  test.each([
    ['delta', 'DELTA_BYTE_ARRAY'],
    ['lz4', 'LZ4'],
  ])('%s, which is not supported', async (name, message) => {
    const error = await errorOf(() => collect(fixture(name), ARTICLES));
    expect(error).toMatchObject({ code: 'UNSUPPORTED', field: `${fixture(name)}:1` });
    expect(error.message).toContain(message);
  });

  test('a text over the limit, in characters, and not one at it', async () => {
    const lengths = expected.articles.map(({ source }) => source.length);
    const longest = Math.max(...lengths);
    const options = { ...ARTICLES, maxLineLength: longest };
    expect(await collect(fixture('snappy'), options)).toEqual(expected.articles);
    const failed = collect(fixture('snappy'), { ...ARTICLES, maxLineLength: longest - 1 });
    const field = `${fixture('snappy')}:${String(lengths.indexOf(longest) + 1)}`;
    await expect(failed).rejects.toMatchObject({ code: 'INVALID_FILE', field });
  });
});

test('no file, a directory, and a name that would be compressed twice', async () => {
  const options = { format: 'parquet' } as const;
  await expect(collect('/nonexistent/f.parquet')).rejects.toMatchObject({ code: 'NOT_FOUND' });
  await expect(collect(newDirectory(), options)).rejects.toMatchObject({
    code: expect.stringMatching(/^(IO|INVALID_FILE)$/),
  });
  await expect(collect('f.parquet.gz')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});
