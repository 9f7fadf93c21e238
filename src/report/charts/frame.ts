import { type Markup, markup } from '../markup.ts';
import type { Scale } from '../scale.ts';

/** The plot area inside an SVG of `width` by `height`, all in SVG units. */
export interface Frame {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

export interface ChartText {
  /** Unique within the page; ids of title and description derive from it. */
  readonly id: string;
  readonly title: string;
  /** What a reader who cannot see the chart should know. */
  readonly description: string;
}

/** A frame with the given margins around the plot area. */
export function createFrame(
  width: number,
  height: number,
  margin: {
    readonly left: number;
    readonly right: number;
    readonly top: number;
    readonly bottom: number;
  },
): Frame {
  return {
    width,
    height,
    left: margin.left,
    right: width - margin.right,
    top: margin.top,
    bottom: height - margin.bottom,
  };
}

/** An accessible SVG image around `content`. */
export function drawSvg(frame: Frame, text: ChartText, content: readonly Markup[]): Markup {
  const { width, height } = frame;
  return markup`<svg class="chart" viewBox="0 0 ${width} ${height}" role="img"
 aria-labelledby="${text.id}-title ${text.id}-desc">
<title id="${text.id}-title">${text.title}</title>
<desc id="${text.id}-desc">${text.description}</desc>
${content}</svg>`;
}

/** Vertical grid lines with tick labels below the plot area, and the axis title under them. */
export function drawXAxis(frame: Frame, scale: Scale, title: string): Markup {
  const { top, bottom, left, right } = frame;
  const ticks = scale.ticks.map((tick) => {
    const x = px(scale.position(tick));
    return markup`<line class="grid" x1="${x}" x2="${x}" y1="${top}" y2="${bottom}"/>
<text class="tick" x="${x}" y="${bottom + 16}" text-anchor="middle">${scale.format(tick)}</text>
`;
  });
  const middle = px((left + right) / 2);
  return markup`<g>
${ticks}<line class="axis" x1="${left}" x2="${right}" y1="${bottom}" y2="${bottom}"/>
<text class="axis-title" x="${middle}" y="${bottom + 34}" text-anchor="middle">${title}</text></g>
`;
}

/** Horizontal grid lines with tick labels left of the plot area, and the axis title above them. */
export function drawYAxis(frame: Frame, scale: Scale, title: string): Markup {
  const { left, right, top } = frame;
  const ticks = scale.ticks.map((tick) => {
    const y = px(scale.position(tick));
    return markup`<line class="grid" x1="${left}" x2="${right}" y1="${y}" y2="${y}"/>
<text class="tick" x="${left - 8}" y="${px(y + 4)}" text-anchor="end">${scale.format(tick)}</text>
`;
  });
  return markup`<g>
${ticks}<text class="axis-title" x="${left - 42}" y="${top - 12}">${title}</text></g>
`;
}

/** Coordinates to a tenth of a unit keep the page small. */
export function px(value: number): number {
  return Math.round(value * 10) / 10;
}

/**
 * Moves labels apart: positions at least `gap` from each other, in the same order, near where they
 * belong, and within `[low, high]` if there is room.
 */
export function spreadLabels(
  positions: readonly number[],
  gap: number,
  low: number,
  high: number,
): number[] {
  const order = positions
    .map((_, index) => index)
    .sort((a, b) => at(positions, a) - at(positions, b));
  const placed = new Array<number>(positions.length).fill(0);
  let previous = -Infinity;
  for (const index of order) {
    previous = Math.max(at(positions, index), previous + gap, low);
    placed[index] = previous;
  }
  let limit = high;
  for (const index of order.reverse()) {
    placed[index] = Math.min(at(placed, index), limit);
    limit = at(placed, index) - gap;
  }
  return placed;
}

function at(values: readonly number[], index: number): number {
  return values[index] ?? 0;
}
