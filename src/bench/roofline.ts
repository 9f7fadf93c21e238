/** A roofline chart: what memory and arithmetic allow, and how far below it work runs. */
import {
  type ChartText,
  createFrame,
  drawSvg,
  drawXAxis,
  drawYAxis,
  px,
} from '../report/charts/frame.ts';
import type { LabelledPoint } from '../report/charts/scatter.ts';
import { type Markup, markup } from '../report/markup.ts';
import { createScale, extentOf, type Interval } from '../report/scale.ts';

/** A limit by name: billions of operations, or of bytes, per second. */
export interface Roof {
  readonly name: string;
  readonly rate: number;
}

export interface Roofs {
  readonly rates: readonly Roof[];
  readonly bandwidths: readonly Roof[];
}

/** Where a roof is drawn: corners of the line under a bandwidth, a rate, and the chart's edges. */
export function roofCorners(
  { bandwidth, rate }: { readonly bandwidth: number; readonly rate: number },
  [low, high]: Interval,
): readonly (readonly [x: number, y: number])[] {
  const ridge = Math.min(Math.max(rate / bandwidth, low), high);
  const corners = [low, ridge, high].map((x) => [x, Math.min(bandwidth * x, rate)] as const);
  return corners.filter(([x], i) => i === 0 || x !== corners[i - 1]?.[0]);
}

/** x: operations per byte; y: billions of operations per second. */
export function drawRoofline(
  points: readonly LabelledPoint[],
  { rates, bandwidths }: Roofs,
  text: ChartText,
): Markup {
  const frame = createFrame(760, 400, { left: 60, right: 120, top: 30, bottom: 44 });
  const slowest = Math.min(...bandwidths.map(({ rate }) => rate));
  const fastest = Math.max(...rates.map(({ rate }) => rate));
  const [xLow, xHigh] = extentOf(points.map(({ x }) => x));
  const domain: Interval = [xLow / 2, Math.max(xHigh, fastest / slowest) * 2];
  const [yLow] = extentOf([...points.map(({ y }) => y), slowest * domain[0]]);
  const x = createScale('log', domain, [frame.left, frame.right]);
  const y = createScale('log', [yLow / 2, fastest * 1.5], [frame.bottom, frame.top]);
  const pathOf = (corners: readonly (readonly [number, number])[]): string =>
    corners.map(([a, b]) => `${String(px(x.position(a)))} ${String(px(y.position(b)))}`).join('L');
  const slopes = bandwidths.map(
    ({ name, rate }) => markup`<g><title>${name}</title>
<path class="initial" d="M${pathOf(roofCorners({ bandwidth: rate, rate: fastest }, domain))}"/></g>
`,
  );
  const tops = rates.map(({ name, rate }) => {
    const top = px(y.position(rate));
    return markup`<g><title>${name}</title>
<path class="initial" d="M${pathOf(roofCorners({ bandwidth: slowest, rate }, domain))}"/>
<text class="label" x="${frame.right + 6}" y="${top + 4}">${name}</text></g>
`;
  });
  const marks = points.map(
    (point) => markup`<g class="${point.style.className}"><title>${point.name}</title>
<circle class="dot" cx="${px(x.position(point.x))}" cy="${px(y.position(point.y))}" r="5"/></g>
`,
  );
  const axes = [
    drawXAxis(frame, x, 'operations per byte of weights'),
    drawYAxis(frame, y, 'GFLOP/s'),
  ];
  return drawSvg(frame, text, [...axes, ...slopes, ...tops, ...marks]);
}
