import { describe, expect, test } from '@jest/globals';
import { compareInTurn, isReached, share } from '../../src/bench/measurement.ts';
import { alternate, medianEstimate, ratioEstimate } from '../../src/bench/ratio.ts';
import { formatBenchmark } from '../../src/bench/table.ts';
import { CounterRandom } from '../../src/data/random.ts';

const BASE = { name: 'a', limitName: 'b', unit: '1/s' };

function countTo(count: number): number[] {
  return Array.from({ length: count }, (_, i) => count - i);
}

describe('the interval of a median', () => {
  // Ranks by the binomial distribution, as tables of the sign test have them.
  test.each([
    [5, 1, 5],
    [6, 1, 6],
    [8, 1, 8],
    [9, 2, 8],
    [11, 2, 10],
    [12, 3, 10],
    [17, 5, 13],
    [25, 8, 18],
  ])('of %d values reaches from the %d-th to the %d-th', (count, low, high) => {
    expect(medianEstimate(countTo(count))).toEqual({ median: (count + 1) / 2, low, high });
  });

  test('of one value is that value, of none nothing', () => {
    expect(medianEstimate([3])).toEqual({ median: 3, low: 3, high: 3 });
    expect(medianEstimate([])).toEqual({ median: NaN, low: NaN, high: NaN });
  });

  test('holds the true median in 95 % of all cases, at least', () => {
    const trials = 2000;
    let held = 0;
    for (let trial = 0; trial < trials; ++trial) {
      const random = new CounterRandom(1, trial);
      // Far from normal: half of all values are below 250,000, and the others spread out.
      const values = Array.from({ length: 9 }, () => random.nextBelow(1000) ** 2);
      const { low, high } = medianEstimate(values);
      if (low <= 499.5 ** 2 && 499.5 ** 2 <= high) ++held;
    }
    expect(held / trials).toBeGreaterThan(0.95);
    // Not all: an interval that is always right says nothing.
    expect(held / trials).toBeLessThan(0.975);
  });

  test('of a ratio pairs what was measured side by side', () => {
    // The machine became ten times slower half-way, for both.
    const values = [20, 21, 20, 2, 2.1, 2];
    const others = [10, 10, 10, 1, 1, 1];
    expect(ratioEstimate(values, others)).toEqual({ median: 2, low: 2, high: 2.1 });
  });
});

test('whoever begins is somebody else in each alternation', async () => {
  const order: string[] = [];
  const subject = (name: string) => [name, () => Promise.resolve(order.push(name))] as const;
  const results = await alternate(3, new Map([subject('a'), subject('b'), subject('c')]));
  expect(order.join('')).toBe('abcbcacab');
  expect([...results]).toEqual([
    ['a', [1, 6, 8]],
    ['b', [2, 4, 9]],
    ['c', [3, 5, 7]],
  ]);
});

describe('a measurement in turn', () => {
  const values = [18, 19, 19, 20, 20, 20, 21, 21, 25];
  const limits = values.map(() => 20);

  test('is shared by the median of its ratios', () => {
    const measured = compareInTurn({ ...BASE, values: [2, 4, 6], limits: [10, 10, 20] });
    // The ratio of the medians is 0.4.
    expect(share(measured)).toBe(0.3);
    expect(measured).toMatchObject({ value: 4, limit: 10 });
  });

  test.each([
    [{ atLeast: 1 }, true],
    [{ atLeast: 1.01 }, false],
    [{ reaches: 1.05 }, true],
    [{ reaches: 1.06 }, false],
  ])('with the wish %j: %s', (wanted, reached) => {
    expect(isReached(compareInTurn({ ...BASE, values, limits, wanted }))).toBe(reached);
  });

  test('says its interval in the table', () => {
    const measured = compareInTurn({ ...BASE, values, limits, wanted: { reaches: 1.06 } });
    const text = formatBenchmark({ title: 'title', measurements: [measured] });
    expect(text).toContain('1.00 × [0.95–1.05] of b (20.0)');
    expect(text).toContain('an interval up to 106 % wanted: MISSED');
  });
});
