import { describe, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { groupPoints } from '../../src/bench/charts.ts';
import type { ChartPoint, Measurement } from '../../src/bench/measurement.ts';
import { renderPage, roofsOf } from '../../src/bench/page.ts';
import { readResults, writePage, writeResult } from '../../src/bench/results.ts';
import { roofCorners } from '../../src/bench/roofline.ts';
import { useTemporaryDirectories } from '../support/directories.ts';

const newDirectory = useTemporaryDirectories();

function measurement(name: string, points: readonly ChartPoint[] = []): Measurement {
  return { name, value: 8, limitName: 'limit', limit: 10, unit: 'GB/s', points };
}

const point = (chart: ChartPoint['chart'], series: string, x: number, y: number): ChartPoint => ({
  chart,
  group: 'group',
  series,
  x,
  y,
});

const MACHINE = [
  { ...measurement('reading 16 MiB'), value: 100, limitName: 'reading 256 MiB', limit: 50 },
  { ...measurement('oneDNN products in float32'), value: 400 },
];

describe('chart data', () => {
  test('is sorted by x, each x once, in the order of the series', () => {
    const measurements = [
      measurement('b', [point('throughput', 'b', 8, 1), point('throughput', 'a', 8, 3)]),
      measurement('a', [point('throughput', 'a', 1, 2), point('throughput', 'a', 8, 99)]),
      measurement('c', [point('context', 'a', 1, 2)]),
    ];
    expect([...groupPoints(measurements, 'throughput')]).toEqual([
      [
        'group',
        [
          { name: 'b', points: [{ x: 8, y: 1 }] },
          {
            name: 'a',
            points: [
              { x: 1, y: 2 },
              { x: 8, y: 3 },
            ],
          },
        ],
      ],
    ]);
  });

  test('roofs are the limits that were measured', () => {
    const { rates, bandwidths } = roofsOf(MACHINE);
    expect(rates).toEqual([{ name: 'float32', rate: 400 }]);
    expect(bandwidths.map(({ rate }) => rate)).toEqual([100, 50]);
    expect(roofsOf([])).toEqual({ rates: [], bandwidths: [] });
  });

  test('a roof rises with the bandwidth up to the rate', () => {
    expect(roofCorners({ bandwidth: 50, rate: 400 }, [1, 100])).toEqual([
      [1, 50],
      [8, 400],
      [100, 400],
    ]);
    // No part of it is bound by memory.
    expect(roofCorners({ bandwidth: 50, rate: 400 }, [10, 100])).toEqual([
      [10, 400],
      [100, 400],
    ]);
  });
});

describe('the page', () => {
  const benchmark = {
    title: 'a <title>',
    measurements: [
      ...MACHINE,
      { ...measurement('step', [point('roofline', 'step', 2, 80)]), wanted: { atLeast: 0.9 } },
      measurement('batch', [point('throughput', 's', 1, 2), point('throughput', 's', 8, 3)]),
      measurement('length', [point('context', 's', 64, 2), point('context', 's', 512, 3)]),
    ],
    impossible: [{ name: 'peer', reason: 'no beams' }],
  };

  test('has a roofline, a chart of each kind, wishes and gaps, and loads nothing', async () => {
    const directory = newDirectory();
    await writeResult(directory, { benchmark: 'all' }, benchmark);
    const file = await writePage(directory, await readResults(directory, ['all', 'absent']));
    const html = await readFile(file, 'utf8');
    expect(html.match(/<svg class="chart"/g)).toHaveLength(3);
    expect(html).toContain('0 of 1 reached');
    expect(html).toContain('at least 90.0 %: no');
    expect(html).toContain('peer: not possible (no beams)');
    expect(html).toContain('a &lt;title&gt;');
    expect(html).not.toMatch(/<script|src=|url\(/);
    expect(html).not.toMatch(/NaN|undefined|Infinity/);
  });

  test('of nothing is a page', () => {
    expect(renderPage([])).toContain('0 of 0 reached');
  });
});
