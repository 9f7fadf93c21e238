/** What the benchmark of types counts and wishes for, and how instruction sets stand side by side. */
import { describe, expect, test } from '@jest/globals';
import { cacheBytesRead, stepCase } from '../../bench/steps-in-turn.ts';
import { wishesFor } from '../../bench/type-wishes.ts';
import { encodingSubject, stepSubject } from '../../src/bench/subjects.ts';
import { formatSideBySide, sideBySide } from '../../src/bench/side-by-side.ts';
import { renderPage } from '../../src/bench/page.ts';
import { readResults, writeResult, type Result } from '../../src/bench/results.ts';
import { createModel } from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { TINY_V10 } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();

describe('bytes of the cache', () => {
  test.each([
    ['float32', 4],
    ['bfloat16', 2],
    ['int8', 2],
  ] as const)('of %s are %d for each element', async (dtype, elementBytes) => {
    await using model = await createModel(TINY_V10, { device: 'cpu', dtype });
    const step = { batch: 5, sourceTokens: 7, newTokens: 3 };
    // K and V of three layers, four heads of six: seven source tokens, and two of one to three.
    expect(cacheBytesRead(model, step)).toBe(5 * 2 * 3 * 4 * 6 * (7 + 2) * elementBytes);
  });

  test('are fewer of fewer K/V heads', async () => {
    await using model = await createModel(TINY_V10, { device: 'cpu' });
    await using grouped = await model.convert({ kvHeads: 1, merge: 'mean' });
    const step = stepCase(8, true);
    expect(cacheBytesRead(grouped, step)).toBe(cacheBytesRead(model, step) / 4);
  });
});

test('steps and encodings can be measured again and again', async () => {
  await using model = await createModel(TINY_V10, { device: 'cpu' });
  await using step = await stepSubject(model, { batch: 2, sourceTokens: 5, newTokens: 3 });
  await using encoding = await encodingSubject(model, { sequences: 2, tokens: 5 });
  for (let i = 0; i < 3; ++i) {
    expect(await step.measure()).toBeGreaterThan(0);
    // An engine that had seen the sources would not encode them.
    expect(await encoding.measure()).toBeGreaterThan(0);
  }
  expect(step.weightBytes).toBeGreaterThan(0);
});

test('wishes are those of the instruction set', () => {
  expect(wishesFor('avx2').step('int8', 1)).toBe(2.5);
  expect(wishesFor('avx2').bandwidth('bfloat16', 8)).toBe(0.6);
  expect(wishesFor('avx2').bandwidth('bfloat16', 1)).toBeUndefined();
  for (const isa of ['avx512', 'avx512-vnni', 'avx512-bf16']) {
    expect(wishesFor(isa).step('int8', 32)).toBe(0.97);
    expect(wishesFor(isa).encoding('bfloat16')).toBe(0.97);
  }
  expect(wishesFor('NEON').step('int8', 1)).toBeUndefined();
});

describe('side by side', () => {
  const measurement = (name: string, median: number) => ({
    name,
    value: median,
    limitName: 'float32',
    limit: 1,
    unit: '1/s',
    ratio: { median, low: median - 0.1, high: median + 0.1 },
    wanted: { atLeast: 1 },
  });

  async function results(): Promise<Result[]> {
    const directory = newDirectory();
    const title = 'types';
    await writeResult(
      directory,
      { benchmark: 'types' },
      { title, measurements: [measurement('int8', 2), measurement('bfloat16', 1.5)] },
    );
    await writeResult(
      directory,
      { benchmark: 'types', limit: 'avx2' },
      { title, measurements: [measurement('int8', 1.2)] },
    );
    await writeResult(directory, { benchmark: 'alone' }, { title: 'alone', measurements: [] });
    return readResults(directory, ['alone', 'types', 'absent']);
  }

  test('a benchmark has a file for each limit, the processor itself first', async () => {
    const found = await results();
    expect(found.map(({ name, benchmark, limit }) => [name, benchmark, limit])).toEqual([
      ['alone', 'alone', undefined],
      ['types', 'types', undefined],
      ['types.avx2', 'types', 'avx2'],
    ]);
  });

  test('a row is a case, a column a limit', async () => {
    const [table, ...others] = sideBySide(await results());
    expect(others).toEqual([]);
    expect(table).toMatchObject({
      benchmark: 'types',
      columns: [expect.stringContaining('all of the processor'), 'avx2'],
      rows: [
        { name: 'int8, of float32', cells: ['2.00 × [1.90–2.10]', '1.20 × [1.10–1.30]'] },
        { name: 'bfloat16, of float32', cells: ['1.50 × [1.40–1.60]', ''] },
      ],
    });
    const [heads, rule, first] = formatSideBySide(await results()).split('\n');
    expect(heads).toMatch(/^\| types \| all of the processor.* \| avx2 \|$/);
    expect(rule).toBe('| --- | --- | --- |');
    expect(first).toBe('| int8, of float32 | 2.00 × [1.90–2.10] | 1.20 × [1.10–1.30] |');
  });

  test('the page says which limit a wish and a command belong to', async () => {
    const html = renderPage(await results());
    expect(html).toContain('types, by instruction set');
    expect(html).toContain('avx2: int8');
    expect(html).toContain('npm run bench -- types --isa avx2');
    expect(html).toContain('3 of 3 reached');
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });
});
