import { formatFixed } from '../format.ts';
import { type Markup, markup } from '../markup.ts';
import { type Interval, type Scale, createScale, extentOf, pad } from '../scale.ts';
import { type Bin, binCount, histogram, summarize } from '../statistics.ts';
import {
  type ChartText,
  type Frame,
  createFrame,
  drawSvg,
  drawXAxis,
  drawYAxis,
  px,
} from './frame.ts';
import type { InitialWeight } from '../types.ts';
import type { SeriesStyle } from './series.ts';

export interface WeightRow {
  /** Where the weights belong, e.g. `2 self K`. */
  readonly name: string;
  readonly values: readonly number[];
}

export interface WeightChartOptions extends ChartText {
  readonly style: SeriesStyle;
  readonly initial: InitialWeight;
  readonly domain: Interval;
}

const WIDTH = 540;
const LEFT = 84;
/** Up to so many weights are drawn one by one; more of them as quartiles and range. */
export const SINGLE_WEIGHTS = 32;
const ROW_HEIGHT = 16;

/** The x axis of a variant's charts: all its weights, and where they started. */
export function weightDomain(values: readonly number[], initial: InitialWeight): Interval {
  const [low, high] = extentOf(values);
  if (typeof initial !== 'number') return pad([low, high], 0.03);
  return pad([Math.min(low, initial), Math.max(high, initial)], 0.06);
}

/** How many weights ended where; the start is a line, or a normal curve if it was random. */
export function drawWeightHistogram(
  values: readonly number[],
  options: WeightChartOptions,
): Markup {
  return drawBins(histogram(values, options.domain, binCount(values.length)), options);
}

/** The same of weights that are counted already; the bins lie within the domain. */
export function drawBins(bins: readonly Bin[], options: WeightChartOptions): Markup {
  const frame = createFrame(WIDTH, 220, { left: LEFT, right: 16, top: 34, bottom: 44 });
  const count = bins.reduce((sum, bin) => sum + bin.count, 0);
  const x = createScale('linear', options.domain, [frame.left, frame.right]);
  const curve = options.initial === 'random' ? normalCounts(bins, count) : [];
  const tallest = extentOf([...bins.map((bin) => bin.count), ...curve])[1];
  const y = createScale('linear', [0, tallest * 1.05], [frame.bottom, frame.top], 4);
  const bars = bins.map((bin) => {
    const left = px(x.position(bin.low) + 0.5);
    const top = px(y.position(bin.count));
    const height = px(frame.bottom - top);
    const width = px(Math.max(0.5, x.position(bin.high) - x.position(bin.low) - 1));
    return markup`<rect x="${left}" y="${top}" width="${width}" height="${height}"/>`;
  });
  const drawStart = (): Markup => {
    const { initial } = options;
    if (initial === 'random') return drawNormalCurve(frame, bins, curve, x, y);
    if (initial === 'least-squares') return markup``;
    return drawInitial(frame, x, initial, `start ${formatWeight(initial)}`);
  };
  return drawSvg(frame, options, [
    drawXAxis(frame, x, 'merge weight'),
    drawYAxis(frame, y, 'weights'),
    markup`<g class="${options.style.className} bars">${bars}</g>`,
    drawStart(),
  ]);
}

/** One row per module and projection: single weights as dots, many as range and quartiles. */
export function drawWeightStrips(rows: readonly WeightRow[], options: WeightChartOptions): Markup {
  const height = 34 + rows.length * ROW_HEIGHT + 44;
  const frame = createFrame(WIDTH, height, { left: LEFT, right: 16, top: 34, bottom: 44 });
  const x = createScale('linear', options.domain, [frame.left, frame.right]);
  const strips = rows.map(({ name, values }, index) => {
    const y = frame.top + (index + 0.5) * ROW_HEIGHT;
    const marks =
      values.length <= SINGLE_WEIGHTS ? drawDots(values, x, y) : drawQuartiles(values, x, y);
    return markup`<text class="tick" x="${LEFT - 8}" y="${px(y + 4)}"
 text-anchor="end">${name}</text>
<line class="grid" x1="${frame.left}" x2="${frame.right}" y1="${y}" y2="${y}"/>
<g class="${options.style.className}">${marks}</g>
`;
  });
  return drawSvg(frame, options, [
    drawXAxis(frame, x, 'merge weight'),
    ...(typeof options.initial === 'number' ? [drawInitial(frame, x, options.initial, '')] : []),
    ...strips,
  ]);
}

/** Three decimals, fewer where they are zeros: `0.25`, `2`, `−0.125`. */
export function formatWeight(value: number): string {
  return formatFixed(value, 3).replace(/\.?0+$/, '');
}

function drawDots(values: readonly number[], x: Scale, y: number): Markup {
  return markup`${values.map(
    (value) => markup`<circle class="weight" cx="${px(x.position(value))}" cy="${y}" r="3.2"/>`,
  )}`;
}

function drawQuartiles(values: readonly number[], x: Scale, y: number): Markup {
  const { minimum, quartile1, median, quartile3, maximum } = summarize(values);
  const [low, first, middle, third, high] = [minimum, quartile1, median, quartile3, maximum].map(
    (value) => px(x.position(value)),
  );
  return markup`<line class="whisker" x1="${low}" x2="${high}" y1="${y}" y2="${y}"/>
<line class="quartiles" x1="${first}" x2="${third}" y1="${y}" y2="${y}"/>
<line class="median" x1="${middle}" x2="${middle}" y1="${y - 5}" y2="${y + 5}"/>`;
}

function drawInitial(frame: Frame, x: Scale, initial: number, label: string): Markup {
  const left = px(x.position(initial));
  return markup`<line class="initial" x1="${left}" x2="${left}" y1="${frame.top - 6}"
 y2="${frame.bottom}"/>
<text class="label" x="${left}" y="${frame.top - 12}" text-anchor="middle">${label}</text>
`;
}

/** Expected counts per bin of standard normal values. */
function normalCounts(bins: readonly Bin[], count: number): number[] {
  return bins.map(({ low, high }) => {
    const middle = (low + high) / 2;
    return (count * (high - low) * Math.exp(-(middle ** 2) / 2)) / Math.sqrt(2 * Math.PI);
  });
}

function drawNormalCurve(
  frame: Frame,
  bins: readonly Bin[],
  counts: readonly number[],
  x: Scale,
  y: Scale,
): Markup {
  const path = bins
    .map(({ low, high }, index) => {
      const left = px(x.position((low + high) / 2));
      return `${String(left)} ${String(px(y.position(counts[index] ?? 0)))}`;
    })
    .join('L');
  return markup`<path class="initial" d="M${path}"/>
<text class="label" x="${frame.right}" y="${frame.top - 12}"
 text-anchor="end">start: standard normal</text>
`;
}
