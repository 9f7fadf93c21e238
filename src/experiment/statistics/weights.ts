/** Movement of merge weights from where they started, per projection and over all. */
import type { MergeWeightGroup } from '../../report/index.ts';
import { histogram } from '../../report/statistics.ts';
import type { WeightMovement } from '../report-types.ts';
import type { RunResult } from '../results.ts';
import { oneSampleTTest, type Moments } from './student.ts';

const BINS = 20;

/**
 * The movement over all weights first, then per module, layer and projection; all seeds together.
 * Empty for a variant without merge weights, or whose weights have no one start.
 * @param decay what weight decay alone would leave of a weight, as a part of it
 */
export function measureMovement(
  variant: string,
  results: readonly RunResult[],
  decay: number,
): WeightMovement[] {
  const groups = results.flatMap(({ mergeWeights }) => mergeWeights);
  const initial = groups[0]?.initial;
  if (typeof initial !== 'number' || groups.some((group) => group.initial !== initial)) return [];
  const places = new Map<string, MergeWeightGroup[]>();
  for (const group of groups) {
    const place = [group.module, group.layer, group.projection].join(' ');
    places.set(place, [...(places.get(place) ?? []), group]);
  }
  // Weights are float32: one that never moved equals the rounded start, not 1/12 itself.
  const stored = Math.fround(initial);
  const start = { initial: stored, decayed: stored * decay };
  return [
    { variant, ...measure(groups, start) },
    ...[...places.values()].map((place) => {
      const { module, projection, layer } = place[0]!;
      return { variant, module, projection, layer, ...measure(place, start) };
    }),
  ];
}

interface Start {
  readonly initial: number;
  readonly decayed: number;
}

function measure(groups: readonly MergeWeightGroup[], { initial, decayed }: Start) {
  const values = groups.flatMap((group) => group.values as number[]);
  const moments = momentsOf(values);
  const against = oneSampleTTest(moments, initial);
  const againstDecay = oneSampleTTest(moments, decayed);
  return {
    count: moments.count,
    initial,
    mean: moments.mean,
    meanAbsoluteDifference:
      values.reduce((sum, value) => sum + Math.abs(value - initial), 0) / values.length,
    decayedInitial: decayed,
    tStatistic: against.statistic,
    pValue: against.pValue,
    decayedTStatistic: againstDecay.statistic,
    decayedPValue: againstDecay.pValue,
    spread: spreadOf(values),
    histogram: histogramOf(values),
  };
}

/** Quantiles between two values are interpolated. */
function spreadOf(values: readonly number[]): WeightMovement['spread'] {
  const sorted = Float64Array.from(values).sort();
  const at = (share: number): number => {
    const place = share * (sorted.length - 1);
    const [below, above] = [Math.floor(place), Math.ceil(place)].map((i) => sorted[i] ?? NaN);
    return below! + (place % 1) * (above! - below!);
  };
  return {
    lowest: at(0),
    lowerQuartile: at(0.25),
    median: at(0.5),
    upperQuartile: at(0.75),
    highest: at(1),
  };
}

function momentsOf(values: readonly number[]): Moments {
  const count = values.length;
  // From the first value: the mean of equal values is exact, and their variance zero.
  const [origin = NaN] = values;
  const mean = origin + values.reduce((sum, value) => sum + (value - origin), 0) / count;
  const squares = values.reduce((sum, value) => sum + (value - mean) ** 2, 0);
  return { count, mean, variance: count > 1 ? squares / (count - 1) : 0 };
}

function histogramOf(values: readonly number[]): WeightMovement['histogram'] {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    low = Math.min(low, value);
    high = Math.max(high, value);
  }
  // Equal values still need a bin of some width.
  const domain = high > low ? ([low, high] as const) : ([low - 0.5, high + 0.5] as const);
  const counts = histogram(values, [...domain], BINS).map(({ count }) => count);
  return { low: domain[0], high: domain[1], counts };
}
