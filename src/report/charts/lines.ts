import { type Markup, markup } from '../markup.ts';
import { type Interval, type ScaleType, createScale, extentOf, pad } from '../scale.ts';
import type { Point } from '../statistics.ts';
import { type ChartText, createFrame, drawSvg, drawXAxis, drawYAxis, px } from './frame.ts';
import type { SeriesStyle } from './series.ts';

export interface LinePoint extends Point {
  /** Ends of an error bar in y. */
  readonly interval?: Interval;
}

export interface Line {
  readonly name: string;
  readonly style: SeriesStyle;
  readonly points: readonly LinePoint[];
}

export interface LineChartOptions extends ChartText {
  readonly xTitle: string;
  readonly yTitle: string;
  /** Of both axes. */
  readonly scale: ScaleType;
  /** Mark each point, for curves of few points. */
  readonly markers: boolean;
}

/** One line per series over shared axes; the lines need at least one point between them. */
export function drawLines(lines: readonly Line[], options: LineChartOptions): Markup {
  const frame = createFrame(540, 320, { left: 50, right: 16, top: 30, bottom: 44 });
  const points = lines.flatMap((line) => line.points);
  const xDomain = extentOf(points.map((point) => point.x));
  const yDomain = extentOf(points.flatMap(({ y: height, interval = [] }) => [height, ...interval]));
  const x = createScale(options.scale, spread(xDomain), [frame.left, frame.right]);
  const y = createScale(options.scale, margin(yDomain, options.scale), [frame.bottom, frame.top]);
  const paths = lines.map(({ name, style, points: own }) => {
    const places = own.map((point) => [px(x.position(point.x)), px(y.position(point.y))] as const);
    const path = places.map(([left, top]) => `${String(left)} ${String(top)}`).join('L');
    const dots = options.markers
      ? places.map(([left, top]) => markup`<circle class="dot" cx="${left}" cy="${top}" r="3"/>`)
      : [];
    const bars = own.map(({ interval }, index) =>
      drawBar(
        places[index]?.[0],
        interval?.map((end) => px(y.position(end))),
      ),
    );
    return markup`<g class="${style.className}"><title>${name}</title>
<path class="line" d="M${path}" stroke-dasharray="${style.dash}"/>${bars}${dots}</g>
`;
  });
  const axes = [drawXAxis(frame, x, options.xTitle), drawYAxis(frame, y, options.yTitle)];
  return drawSvg(frame, options, [...axes, ...paths]);
}

function drawBar(x: number | undefined, ends: readonly number[] | undefined): Markup | undefined {
  const [low, high] = ends ?? [];
  if (low === high) return undefined;
  return markup`<line class="whisker" x1="${x}" x2="${x}" y1="${low}" y2="${high}"/>`;
}

/** An axis needs a length even if all points share an abscissa. */
function spread(domain: readonly [number, number]): readonly [number, number] {
  return domain[0] < domain[1] ? domain : pad(domain, 0);
}

/** Room above and below; a logarithmic axis must not reach zero. */
function margin(domain: readonly [number, number], scale: ScaleType): readonly [number, number] {
  return scale === 'log' && domain[0] > 0
    ? [domain[0] / 1.03, domain[1] * 1.03]
    : pad(domain, 0.05);
}
