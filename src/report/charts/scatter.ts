import { type Markup, markup } from '../markup.ts';
import { createScale, extentOf, pad } from '../scale.ts';
import type { Point } from '../statistics.ts';
import {
  type ChartText,
  createFrame,
  drawSvg,
  drawXAxis,
  drawYAxis,
  px,
  spreadLabels,
} from './frame.ts';
import type { SeriesStyle } from './series.ts';

export interface LabelledPoint extends Point {
  readonly name: string;
  readonly style: SeriesStyle;
  /** Ends of an error bar in y. */
  readonly interval?: readonly [low: number, high: number];
}

export interface ScatterOptions extends ChartText {
  readonly xTitle: string;
  readonly yTitle: string;
}

const LABEL_HEIGHT = 15;
const LABEL_WIDTH = 96;
/** Of a letter, about. */
const LETTER_WIDTH = 7.5;
const LABEL_GAP = 20;

/** One labelled point per variant; the abscissa starts at zero, since shares of it are compared. */
export function drawScatter(points: readonly LabelledPoint[], options: ScatterOptions): Markup {
  const [, xMaximum] = extentOf(points.map((point) => point.x));
  const right = Math.max(LABEL_WIDTH, ...points.map((point) => overhang(point, xMaximum)));
  const frame = createFrame(760, 340, { left: 50, right, top: 30, bottom: 44 });
  const x = createScale('linear', [0, xMaximum || 1], [frame.left, frame.right]);
  const heights = points.flatMap(({ y: height, interval = [] }) => [height, ...interval]);
  const yDomain = pad(extentOf(heights), 0.12);
  const y = createScale('linear', yDomain, [frame.bottom, frame.top]);
  const places = points.map((point) => ({
    point,
    left: px(x.position(point.x)),
    top: px(y.position(point.y)),
    bar: point.interval?.map((end) => px(y.position(end))),
  }));
  const columns = groupByColumn(places);
  const marks = columns.flatMap((column) => {
    const tops = spreadLabels(
      column.map(({ top }) => top),
      LABEL_HEIGHT,
      frame.top,
      frame.bottom - 4,
    );
    return column.map((place, index) => drawPoint(place, tops[index] ?? place.top));
  });
  const axes = [drawXAxis(frame, x, options.xTitle), drawYAxis(frame, y, options.yTitle)];
  return drawSvg(frame, options, [...axes, ...marks]);
}

/** Room right of the chart that the label of a point near its edge takes. */
function overhang({ name, x }: LabelledPoint, xMaximum: number): number {
  return x < 0.8 * xMaximum ? 0 : Math.min(220, LABEL_GAP + LETTER_WIDTH * name.length);
}

/** Points so close in x that their labels could meet. */
function groupByColumn<T extends { readonly left: number }>(places: readonly T[]): T[][] {
  const columns: T[][] = [];
  for (const place of places.toSorted((a, b) => a.left - b.left)) {
    const current = columns.at(-1);
    if (current?.[0] !== undefined && place.left - current[0].left < LABEL_WIDTH)
      current.push(place);
    else columns.push([place]);
  }
  return columns;
}

interface Place {
  readonly point: LabelledPoint;
  readonly left: number;
  readonly top: number;
  /** Ends of the error bar. */
  readonly bar: readonly number[] | undefined;
}

function drawPoint({ point, left, top, bar }: Place, labelTop: number): Markup {
  const [low, high] = bar ?? [];
  const error =
    bar && markup`<line class="line" x1="${left}" x2="${left}" y1="${low}" y2="${high}"/>`;
  const leader =
    Math.abs(labelTop - top) < 3
      ? undefined
      : markup`<line class="leader" x1="${left + 5}" x2="${left + 14}" y1="${top}"
 y2="${px(labelTop)}"/>`;
  return markup`<g class="${point.style.className}"><title>${point.name}</title>${error}${leader}
<circle class="dot" cx="${left}" cy="${top}" r="5"/>
<text class="label" x="${left + 17}" y="${px(labelTop + 4)}">${point.name}</text></g>
`;
}
