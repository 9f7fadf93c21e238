import { describe, expect, test } from '@jest/globals';
import {
  compare,
  interleave,
  isReached,
  median,
  share,
  type Measurement,
} from '../../src/bench/measurement.ts';
import { formatBenchmark } from '../../src/bench/table.ts';

const BASE = { name: 'a', limitName: 'b', unit: 'GB/s' };

describe('statistics', () => {
  test('the median of an even number of values lies between the middle ones', () => {
    expect(median([4, 1, 3, 2])).toBe(2.5);
    expect(median([7])).toBe(7);
  });

  test('a ratio is that of the medians, its quartiles those of the ratios', () => {
    const measured = compare({ ...BASE, values: [2, 4, 6], limits: [10, 10, 20] });
    expect(measured).toMatchObject({ value: 4, limit: 10 });
    expect(share(measured)).toBe(0.4);
    // Ratios 0.2, 0.4, 0.3: quartiles 0.25 and 0.35.
    expect(measured.spread?.[0]).toBeCloseTo(0.25);
    expect(measured.spread?.[1]).toBeCloseTo(0.35);
  });

  test('one limit holds for every repetition', () => {
    expect(compare({ ...BASE, values: [1, 2, 3], limits: [4] }).spread).toEqual([0.375, 0.625]);
  });

  test('repetitions are interleaved', async () => {
    const order: string[] = [];
    const subject = (name: string) => () => Promise.resolve(order.push(name));
    const results = await interleave(2, { a: subject('a'), b: subject('b') });
    expect(order).toEqual(['a', 'b', 'a', 'b']);
    expect(results).toEqual({ a: [1, 3], b: [2, 4] });
  });
});

describe('wishes', () => {
  const measured = (value: number, wanted?: Measurement['wanted']): Measurement => ({
    ...BASE,
    value,
    limit: 10,
    ...(wanted && { wanted }),
  });

  test.each([
    { value: 8, wanted: { atLeast: 0.8 }, reached: true },
    { value: 7.9, wanted: { atLeast: 0.8 }, reached: false },
    { value: 9.9, wanted: { below: 1 }, reached: true },
    { value: 10, wanted: { below: 1 }, reached: false },
  ])('$value of 10, $wanted: $reached', ({ value, wanted, reached }) => {
    expect(isReached(measured(value, wanted))).toBe(reached);
  });

  test('are said in the table, with what nobody else can do', () => {
    const text = formatBenchmark({
      title: 'title',
      measurements: [measured(7, { atLeast: 0.8 }), measured(5)],
      impossible: [{ name: 'peer', reason: 'no beams' }],
    });
    expect(text).toContain('70.0 % of b (10.0); at least 80.0 % wanted: MISSED');
    expect(text).toContain('50.0 % of b (10.0)\n');
    expect(text).toContain('peer: not possible (no beams)');
  });
});
