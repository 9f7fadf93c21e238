import type { Interval } from './scale.ts';

export interface Summary {
  readonly count: number;
  readonly mean: number;
  /** Of the population: divided by the count. */
  readonly standardDeviation: number;
  readonly minimum: number;
  readonly quartile1: number;
  readonly median: number;
  readonly quartile3: number;
  readonly maximum: number;
}

export interface Bin {
  readonly low: number;
  readonly high: number;
  readonly count: number;
}

/** Moments and quantiles (linear interpolation) of at least one value. */
export function summarize(values: readonly number[]): Summary {
  const sorted = Float64Array.from(values).sort();
  const mean = sum(sorted) / sorted.length;
  const variance = sum(sorted.map((value) => (value - mean) ** 2)) / sorted.length;
  return {
    count: sorted.length,
    mean,
    standardDeviation: Math.sqrt(variance),
    minimum: quantile(sorted, 0),
    quartile1: quantile(sorted, 0.25),
    median: quantile(sorted, 0.5),
    quartile3: quantile(sorted, 0.75),
    maximum: quantile(sorted, 1),
  };
}

/** Counts values in equal bins over `domain`; the last bin includes its upper edge. */
export function histogram(values: readonly number[], domain: Interval, bins: number): Bin[] {
  const width = (domain[1] - domain[0]) / bins;
  const counts = new Array<number>(bins).fill(0);
  for (const value of values) {
    const index = Math.min(bins - 1, Math.floor((value - domain[0]) / width));
    if (index >= 0) counts[index] = (counts[index] ?? 0) + 1;
  }
  return counts.map((count, index) => ({
    low: domain[0] + index * width,
    high: domain[0] + (index + 1) * width,
    count,
  }));
}

/** Square root of the count, kept within what can be told apart on a page. */
export function binCount(values: number): number {
  return Math.min(48, Math.max(12, Math.ceil(Math.sqrt(values))));
}

export interface Point {
  readonly x: number;
  readonly y: number;
}

/**
 * At most `limit` points, each the mean of as many neighbours; the number of neighbours comes with
 * them. Points whose y is not finite are left out.
 */
export function averageNeighbours(
  points: readonly Point[],
  limit: number,
): { readonly points: Point[]; readonly neighbours: number } {
  const finite = points.filter((point) => Number.isFinite(point.y));
  const neighbours = Math.max(1, Math.ceil(finite.length / limit));
  const averaged = Array.from({ length: Math.ceil(finite.length / neighbours) }, (_, index) => {
    const part = finite.slice(index * neighbours, (index + 1) * neighbours);
    return {
      x: sum(part.map((point) => point.x)) / part.length,
      y: sum(part.map((point) => point.y)) / part.length,
    };
  });
  return { points: averaged, neighbours };
}

function sum(values: Iterable<number>): number {
  let total = 0;
  for (const value of values) total += value;
  return total;
}

function quantile(sorted: Float64Array, share: number): number {
  const index = share * (sorted.length - 1);
  const below = sorted[Math.floor(index)] ?? NaN;
  const above = sorted[Math.ceil(index)] ?? NaN;
  return below + (above - below) * (index - Math.floor(index));
}
