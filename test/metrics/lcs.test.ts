/** Longest common subsequences beside the plain table of lengths, and the bounds of ROUGE. */
import { expect, test } from '@jest/globals';
import { computeBleu, computeRouge } from '../../src/index.ts';
import { CounterRandom } from '../../src/data/random.ts';
import { indexTokens, lcsIndices, lcsLength } from '../../src/metrics/lcs.ts';

/** table[i][j]: the length for the first i and j tokens. */
function lengthTable(left: readonly string[], right: readonly string[]): number[][] {
  const table = [new Array<number>(right.length + 1).fill(0)];
  for (const token of left) {
    const above = table.at(-1)!;
    const row = [0];
    right.forEach((other, j) => {
      row.push(token === other ? above[j]! + 1 : Math.max(above[j + 1]!, row[j]!));
    });
    table.push(row);
  }
  return table;
}

/** As `rouge_score` reads the table backwards. */
function indicesOf(left: readonly string[], right: readonly string[]): number[] {
  const table = lengthTable(left, right);
  const indices: number[] = [];
  let [i, j] = [left.length, right.length];
  while (i > 0 && j > 0) {
    if (left[i - 1] === right[j - 1]) {
      indices.unshift(i - 1);
      i -= 1;
      j -= 1;
    } else if (table[i]![j - 1]! > table[i - 1]![j]!) j -= 1;
    else i -= 1;
  }
  return indices;
}

test('a worked example', () => {
  const reference = ['1', '2', '3', '4', '5'];
  expect(lcsIndices(reference, indexTokens(['2', '5', '3', '4']))).toEqual([1, 2, 3]);
  expect(lcsLength(reference, indexTokens(['2', '5', '3', '4']))).toBe(3);
  expect(lcsIndices(reference, indexTokens(['8', '9']))).toEqual([]);
});

test.each([1, 2, 3, 7, 40])('texts of %i different words, of up to four words of bits', (kinds) => {
  const random = new CounterRandom(5, kinds);
  const text = (): string[] =>
    Array.from({ length: random.nextBelow(130) }, () => `w${random.nextBelow(kinds)}`);
  for (let round = 0; round < 60; round += 1) {
    const [left, right] = [text(), text()];
    const indexed = indexTokens(right);
    expect(lcsLength(left, indexed)).toBe(lengthTable(left, right)[left.length]![right.length]);
    expect(lcsIndices(left, indexed)).toEqual(indicesOf(left, right));
  }
});

const words = (count: number, kinds: number, between = ' '): string =>
  Array.from({ length: count }, (_, i) => `w${i % kinds}`).join(between);

test('many lines of few kinds are scored, since equal lines have equal matches', () => {
  const text = words(20_000, 3, '\n');
  expect(computeRouge([text], [text], { types: ['rougeLsum'] }).mean.rougeLsum.fmeasure).toBe(1);
});

test.each([
  ['rougeL' as const, ' '],
  ['rougeLsum' as const, '\n'],
  ['rougeLsum' as const, ' '],
])('%s of texts that would take minutes is refused before it begins', (type, between) => {
  const text = `${words(2e5, 5, between)}${between}${words(2e4, 2e4, ' w0\n')}`;
  const started = performance.now();
  expect(() => computeRouge(['a', text], ['a', text], { types: [type] })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', field: 'hypotheses[1]' }),
  );
  expect(performance.now() - started).toBeLessThan(10_000);
});

test.each([0, 17, 2 ** 31, 2 ** 40, 1.5])('BLEU of n-grams up to %d is refused', (maxOrder) => {
  expect(() => computeBleu(['a b'], ['a b'], { maxOrder })).toThrow(
    expect.objectContaining({ code: 'INVALID_ARGUMENT', field: 'maxOrder' }),
  );
});

test('unknown options and holes are refused', () => {
  const refusal = (field: string) => expect.objectContaining({ code: 'INVALID_ARGUMENT', field });
  const unknown = { lower_case: true } as never;
  expect(() => computeBleu(['a'], ['b'], unknown)).toThrow(refusal('lower_case'));
  expect(() => computeRouge(['a'], ['b'], unknown)).toThrow(refusal('lower_case'));
  expect(() => computeBleu(['a'], ['b'], null as never)).toThrow(refusal('options'));
  // eslint-disable-next-line no-sparse-arrays
  expect(() => computeRouge([,] as never, ['b'])).toThrow(refusal('hypotheses[0]'));
  // eslint-disable-next-line no-sparse-arrays
  expect(() => computeRouge(['a'], ['b'], { types: [,] as never })).toThrow(refusal('types[0]'));
});
