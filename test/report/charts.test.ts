import { describe, expect, test } from '@jest/globals';
import { spreadLabels } from '../../src/report/charts/frame.ts';
import { assignStyles } from '../../src/report/charts/series.ts';
import { formatWeight, weightDomain } from '../../src/report/charts/weights.ts';
import { createScale, extentOf, linearTicks, logTicks, pad } from '../../src/report/scale.ts';
import { averageNeighbours, histogram, summarize } from '../../src/report/statistics.ts';

describe('ticks', () => {
  test.each<[number, number, number[]]>([
    [0, 10, [0, 2, 4, 6, 8, 10]],
    [0.12, 0.38, [0.15, 0.2, 0.25, 0.3, 0.35]],
    [-3.2, 3.1, [-2, 0, 2]],
    [2.2, 2.31, [2.2, 2.22, 2.24, 2.26, 2.28, 2.3]],
    [5, 5, [5]],
  ])('linear from %p to %p', (low, high, expected) => {
    expect(linearTicks([low, high], 6)).toEqual(expected);
  });

  test.each<[number, number, number[]]>([
    [1, 300, [1, 2, 5, 10, 20, 50, 100, 200]],
    [1, 1e9, [1, 10, 100, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9]],
    [2.2, 3.1, [2.2, 2.4, 2.6, 2.8, 3]],
  ])('logarithmic from %p to %p', (low, high, expected) => {
    expect(logTicks([low, high], 6)).toEqual(expected);
  });

  test('labels show each tick exactly, with as many decimals as the finest needs', () => {
    const { ticks, format } = createScale('linear', [0.12, 0.38], [0, 1]);
    expect(ticks.map(format)).toEqual(['0.15', '0.20', '0.25', '0.30', '0.35']);
    const steps = createScale('linear', [0, 40_000], [0, 1]);
    expect(steps.ticks.map(steps.format)).toEqual(['0', '10k', '20k', '30k', '40k']);
    const tiny = createScale('linear', [-1e-4, 1e-4], [0, 1], 2);
    expect(tiny.ticks.map(tiny.format)).toEqual(['−0.0001', '0.0000', '0.0001']);
  });
});

describe('scales', () => {
  test('the ends of the domain land on the ends of the range', () => {
    for (const type of ['linear', 'log'] as const) {
      const { position } = createScale(type, [2, 8], [100, 40]);
      expect([position(2), position(8)]).toEqual([100, 40]);
    }
    expect(createScale('log', [2, 8], [100, 40]).position(4)).toBeCloseTo(70, 10);
    expect(createScale('linear', [2, 8], [100, 40]).position(4)).toBeCloseTo(80, 10);
  });

  test('a logarithm of a domain with zero falls back to linear', () => {
    expect(createScale('log', [0, 10], [0, 10]).position(5)).toBe(5);
  });

  test('an empty domain gives finite positions', () => {
    expect(createScale('linear', [3, 3], [0, 10]).position(3)).toBe(0);
  });

  test('extent ignores what is not finite; padding opens an empty interval', () => {
    expect(extentOf([NaN, 2, -1, Infinity])).toEqual([-1, 2]);
    expect(extentOf([NaN])).toEqual([0, 1]);
    expect(pad([0, 10], 0.1)).toEqual([-1, 11]);
    expect(pad([0, 0], 0.1)[1]).toBeGreaterThan(0);
  });

  test('the domain of merge weights contains where they started', () => {
    const [low, high] = weightDomain([0.3, 0.4], 0.25);
    expect(low).toBeLessThan(0.25);
    expect(high).toBeGreaterThan(0.4);
    expect(weightDomain([0.25], 0.25)[1]).toBeGreaterThan(0.25);
    expect([0.25, 2, 0.125, -0.1, 1 / 12].map(formatWeight)).toEqual([
      '0.25',
      '2',
      '0.125',
      '−0.1',
      '0.083',
    ]);
  });
});

describe('statistics', () => {
  test('summary', () => {
    expect(summarize([4, 1, 3, 2])).toEqual({
      count: 4,
      mean: 2.5,
      standardDeviation: Math.sqrt(1.25),
      minimum: 1,
      quartile1: 1.75,
      median: 2.5,
      quartile3: 3.25,
      maximum: 4,
    });
  });

  test('a histogram counts every value once, also on the edges', () => {
    const bins = histogram([0, 0.5, 1, 1, 2, 3], [0, 3], 3);
    expect(bins.map((bin) => bin.count)).toEqual([2, 2, 2]);
    expect(bins.map((bin) => bin.low)).toEqual([0, 1, 2]);
  });

  test('neighbours are averaged down to the limit, without what is not finite', () => {
    const points = [1, 2, NaN, 3, 4, 5].map((y, x) => ({ x, y }));
    expect(averageNeighbours(points, 3)).toEqual({
      neighbours: 2,
      points: [
        { x: 0.5, y: 1.5 },
        { x: 3.5, y: 3.5 },
        { x: 5, y: 5 },
      ],
    });
    expect(averageNeighbours([], 3).points).toEqual([]);
  });

  test('more values than a call can take arguments', () => {
    const values = Array.from({ length: 500_000 }, (_, index) => index);
    expect(summarize(values).maximum).toBe(499_999);
    expect(extentOf(values)).toEqual([0, 499_999]);
  });
});

describe('labels and styles', () => {
  test('labels keep their order and a distance, within the bounds', () => {
    expect(spreadLabels([10, 50], 15, 0, 100)).toEqual([10, 50]);
    expect(spreadLabels([52, 50, 51], 15, 0, 100)).toEqual([80, 50, 65]);
    expect(spreadLabels([98, 97], 15, 0, 100)).toEqual([100, 85]);
  });

  test('all fifteen variants look different and the baseline stands apart', () => {
    const presets = Array.from({ length: 15 }, (_, index) => `P${String(index)}`);
    const styles = assignStyles(presets, 'P3');
    expect(styles.get('P3')).toEqual({ className: 'series-base', dash: 'none' });
    const looks = presets.map((preset) => JSON.stringify(styles.get(preset)));
    expect(new Set(looks).size).toBe(15);
  });
});
