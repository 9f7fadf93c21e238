/** The charts of a report's page; the figures of each are in a table beside it. */
import { drawLines, type LinePoint } from '../../report/charts/lines.ts';
import { drawScatter } from '../../report/charts/scatter.ts';
import { assignStyles, drawLegend, type SeriesStyle } from '../../report/charts/series.ts';
import { drawBins, weightDomain } from '../../report/charts/weights.ts';
import { formatFixed } from '../../report/format.ts';
import { type Markup, markup } from '../../report/markup.ts';
import type { DatasetReport, WeightMovement } from '../report-types.ts';
import { gapAt, kvBytesOf, pairsOf } from './findings.ts';

export type Styles = ReadonlyMap<string, SeriesStyle>;

/** The Pareto picture. */
export function renderQuality({ rows, metric }: DatasetReport, styles: Styles, id: string): Markup {
  const points = rows.flatMap((row) => {
    const { variant, score } = row;
    const style = styles.get(variant);
    const interval = [score.low, score.high] as const;
    if (style === undefined || ![score.mean, ...interval].every(Number.isFinite)) return [];
    return [{ name: variant, style, x: kvBytesOf(row) / 1024, y: score.mean, interval }];
  });
  if (points.length === 0) return markup``;
  const chart = drawScatter(points, {
    id: `${id}-quality`,
    title: `${metric} against K/V bytes`,
    description:
      'One point per variant with its 95 % interval; the figures are in the table above.',
    xTitle: 'KiB of K and V per token, self- and cross-attention',
    yTitle: metric,
  });
  return markup`<figure><figcaption>Quality against cache size, with 95 % intervals. Up and to the
left is better.</figcaption>
${chart}</figure>`;
}

const BY_STEP = { xTitle: 'optimiser step', yTitle: 'nats per token' } as const;

export function renderCurveCharts({ rows }: DatasetReport, styles: Styles, id: string): Markup {
  const lines = rows.map(({ variant, curve }) => ({
    name: variant,
    points: curve.map(({ step, mean, lowest, highest }) => ({
      x: step,
      y: mean,
      interval: [lowest, highest] as const,
    })),
  }));
  const text = {
    ...BY_STEP,
    id: `${id}-curves`,
    title: 'Validation loss',
    note: 'Mean over seeds, with bars from the lowest to the highest seed.',
  };
  return renderLines(lines, styles, text);
}

/** A line whose gaps are all within this part of the widest is drawn again, close up. */
const CLOSE = 0.2;

export function renderGapCharts(dataset: DatasetReport, styles: Styles, id: string): Markup {
  const lines = pairsOf(dataset).map((pair) => ({
    name: pair.row.variant,
    points: pair.row.curve
      .map(({ step }) => ({ x: step, y: gapAt(pair, step) }))
      .filter(({ y }) => Number.isFinite(y)),
  }));
  const widthOf = ({ points }: NamedLine) => Math.max(0, ...points.map(({ y }) => Math.abs(y)));
  const widest = Math.max(0, ...lines.map(widthOf));
  const close = lines.filter((line) => widthOf(line) < CLOSE * widest);
  const text = { ...BY_STEP, note: 'Differences of means over seeds.' };
  const all = { ...text, id: `${id}-gap`, title: 'Gap of validation loss to the mean' };
  const near = { ...text, id: `${id}-gap-close`, title: 'The same, close up' };
  return markup`${renderLines(lines, styles, all)}
${renderLines(close, styles, near)}`;
}

interface NamedLine {
  readonly name: string;
  readonly points: readonly LinePoint[];
}

interface LineText {
  readonly id: string;
  readonly title: string;
  readonly note: string;
  readonly xTitle: string;
  readonly yTitle: string;
}

/** A legend and a chart; nothing where no line has a point. */
function renderLines(lines: readonly NamedLine[], styles: Styles, text: LineText): Markup {
  const drawn = lines.flatMap(({ name, points }) => {
    const style = styles.get(name);
    const finite = points.filter(({ y, interval = [] }) => [y, ...interval].every(Number.isFinite));
    return style && finite.length > 0 ? [{ name, style, points: finite }] : [];
  });
  if (drawn.length === 0) return markup``;
  const legend = drawLegend(
    drawn.map(({ name, style, points }) => ({
      name,
      style,
      note: formatFixed(points.at(-1)?.y ?? NaN, 4),
    })),
  );
  const chart = drawLines(drawn, {
    ...text,
    description: 'One line per variant; the figures are in the table below.',
    scale: 'linear',
    markers: true,
  });
  return markup`<figure><figcaption>${text.title}. ${text.note} Beside each name, the last
value.</figcaption>
${legend}
${chart}</figure>
`;
}

const BY_LAYER = { xTitle: 'layer, from 0' } as const;

/** Movements of single layers, by the module and projection they are of. */
function byPlace(movements: readonly WeightMovement[]): Map<string, WeightMovement[]> {
  const places = new Map<string, WeightMovement[]>();
  for (const movement of movements) {
    const { module, projection, layer } = movement;
    if (module === undefined || projection === undefined || layer === undefined) continue;
    const place = `${module} ${projection.toUpperCase()}`;
    places.set(place, [...(places.get(place) ?? []), movement]);
  }
  return places;
}

function byLayer(
  movements: readonly WeightMovement[],
  valueOf: (movement: WeightMovement) => Omit<LinePoint, 'x'>,
): LinePoint[] {
  return movements
    .map((movement) => ({ x: movement.layer ?? NaN, ...valueOf(movement) }))
    .toSorted((a, b) => a.x - b.x);
}

/** Where the weights of each layer lie: a chart for each variant, a line for each projection. */
export function renderLayerSpreads({ weights }: DatasetReport, id: string): Markup {
  const variants = [...new Set(weights.map(({ variant }) => variant))];
  const figures = variants.map((variant, index) => {
    const places = byPlace(weights.filter((movement) => movement.variant === variant));
    const lines = [...places].map(([name, movements]) => ({
      name,
      points: byLayer(movements, ({ spread: { lowerQuartile, median, upperQuartile } }) => ({
        y: median,
        interval: [lowerQuartile, upperQuartile] as const,
      })),
    }));
    const names = [...places.keys()];
    return renderLines(lines, assignStyles(names, names[0] ?? ''), {
      id: `${id}-spread-${index}`,
      title: `Weights of ${variant} by layer`,
      note: 'Median of all seeds, with bars over the middle half of the weights.',
      yTitle: 'weight',
      ...BY_LAYER,
    });
  });
  return markup`<div class="pair">
${figures}</div>`;
}

/** The paper's Figure 2: a chart for each module and projection, a line for each variant. */
export function renderMovementCharts(
  { rows, weights }: DatasetReport,
  styles: Styles,
  id: string,
): Markup {
  const figures = [...byPlace(weights)].map(([place, movements], index) => {
    const lines = rows.map(({ variant }) => ({
      name: variant,
      points: byLayer(
        movements.filter((movement) => movement.variant === variant),
        ({ meanAbsoluteDifference }) => ({ y: meanAbsoluteDifference }),
      ),
    }));
    return renderLines(lines, styles, {
      id: `${id}-weights-${index}`,
      title: `Mean absolute difference from the start, ${place}`,
      note: 'All seeds together.',
      ...BY_LAYER,
      yTitle: 'mean |w − start|',
    });
  });
  return markup`<div class="pair">
${figures}</div>`;
}

/** Where each variant's weights ended, all layers and seeds together. */
export function renderHistograms({ weights }: DatasetReport, styles: Styles, id: string): Markup {
  const figures = weights
    .filter(({ layer }) => layer === undefined)
    .map((movement, index) => {
      const style = styles.get(movement.variant);
      return style && renderHistogram(movement, style, `${id}-histogram-${index}`);
    });
  return markup`<div class="pair">
${figures}</div>`;
}

function renderHistogram(
  { variant, initial, histogram: { low, high, counts } }: WeightMovement,
  style: SeriesStyle,
  id: string,
): Markup {
  const width = (high - low) / counts.length;
  const bins = counts.map((count, bin) => ({
    low: low + bin * width,
    high: low + (bin + 1) * width,
    count,
  }));
  const chart = drawBins(bins, {
    id,
    style,
    initial,
    domain: weightDomain([low, high], initial),
    title: `Distribution of ${variant}'s merge weights`,
    description: 'The figures are in the table below.',
  });
  return markup`<figure><figcaption>${variant}: all weights, all seeds</figcaption>
${chart}</figure>
`;
}
