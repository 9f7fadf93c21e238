/** The charts of a page, from the points that measurements carry. */
import { drawLines } from '../report/charts/lines.ts';
import { assignStyles, drawLegend } from '../report/charts/series.ts';
import { formatFixed } from '../report/format.ts';
import { type Markup, markup } from '../report/markup.ts';
import type { Point } from '../report/statistics.ts';
import type { Benchmark, ChartPoint, Measurement } from './measurement.ts';
import { drawRoofline, type Roof } from './roofline.ts';

export interface Series {
  readonly name: string;
  /** In the order of x, each x once. */
  readonly points: readonly Point[];
}

/** Points of one kind, by chart and then by series. */
export function groupPoints(
  measurements: readonly Measurement[],
  chart: ChartPoint['chart'],
): Map<string, Series[]> {
  const groups = new Map<string, Map<string, Map<number, Point>>>();
  for (const point of measurements.flatMap(({ points = [] }) => points)) {
    if (point.chart !== chart) continue;
    const group = groups.get(point.group) ?? new Map<string, Map<number, Point>>();
    const series = group.get(point.series) ?? new Map<number, Point>();
    // Several comparisons may tell the same point.
    if (!series.has(point.x)) series.set(point.x, { x: point.x, y: point.y });
    groups.set(point.group, group.set(point.series, series));
  }
  const sorted = ([name, points]: [string, Map<number, Point>]): Series => ({
    name,
    points: [...points.values()].sort((a, b) => a.x - b.x),
  });
  return new Map([...groups].map(([name, series]) => [name, [...series].map(sorted)]));
}

const KINDS = {
  throughput: { title: 'Tokens per second by batch', x: 'batch', y: 'tokens/s', scale: 'log' },
  context: {
    title: 'A step by the length of the source',
    x: 'source tokens',
    y: 'ms per step',
    scale: 'linear',
  },
} as const;

/** Line charts of one benchmark; `id` is unique on the page. */
export function renderLineCharts(id: string, { measurements }: Benchmark): Markup[] {
  return (['throughput', 'context'] as const).flatMap((kind) =>
    [...groupPoints(measurements, kind)].map(([group, series], index) => {
      const { title, x, y, scale } = KINDS[kind];
      const styles = assignStyles(
        series.map(({ name }) => name),
        series[0]?.name ?? '',
      );
      const lines = series.map(({ name, points }) => ({ name, style: styles.get(name)!, points }));
      const chart = drawLines(lines, {
        id: `${id}-${kind}-${String(index)}`,
        title: `${title}, ${group}`,
        description: series.map(describeSeries).join('; '),
        xTitle: x,
        yTitle: y,
        scale,
        markers: true,
      });
      const entries = lines.map(({ name, style, points }) => ({
        name,
        style,
        note: `${formatFixed(points.at(-1)?.y ?? NaN, 1)} at ${String(points.at(-1)?.x)}`,
      }));
      return markup`<figure><figcaption>${title}: ${group}</figcaption>
${chart}${drawLegend(entries)}</figure>
`;
    }),
  );
}

function describeSeries({ name, points }: Series): string {
  return `${name}: ${points.map(({ x, y }) => `${formatFixed(y, 1)} at ${String(x)}`).join(', ')}`;
}

/** All rooflines of all benchmarks under the roofs that were measured; nothing without points. */
export function renderRoofline(
  measurements: readonly Measurement[],
  roofs: { readonly rates: readonly Roof[]; readonly bandwidths: readonly Roof[] },
): Markup | undefined {
  const series = [...groupPoints(measurements, 'roofline').values()].flat();
  if (series.length === 0 || roofs.rates.length === 0) return undefined;
  const styles = assignStyles(
    series.map(({ name }) => name),
    '',
  );
  const points = series.flatMap(({ name, points: own }) =>
    own.map((point) => ({ ...point, name, style: styles.get(name)! })),
  );
  const chart = drawRoofline(points, roofs, {
    id: 'roofline',
    title: 'Roofline',
    description: points
      .map(({ name, x, y }) => `${name}: ${formatFixed(y, 0)} GFLOP/s at ${formatFixed(x, 1)}`)
      .join('; '),
  });
  const entries = points.map(({ name, style, y }) => ({
    name,
    style,
    note: `${formatFixed(y, 0)} GFLOP/s`,
  }));
  return markup`<figure><figcaption>Operations per second against operations per byte of weights,
below what memory and products allow. Both axes are logarithmic.</figcaption>
${chart}${drawLegend(entries)}</figure>`;
}
