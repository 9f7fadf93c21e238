/** What every benchmark yields, and the statistics they share. */
import { summarize } from '../report/statistics.ts';
import { ratioEstimate, type Estimate } from './ratio.ts';

/** First and third quartile over the repetitions. */
export type Quartiles = readonly [low: number, high: number];

/** A place in a chart of the page; what the axes are stands in charts.ts. */
export interface ChartPoint {
  readonly chart: 'roofline' | 'throughput' | 'context';
  /** Which of the charts of this kind, e.g. "T5-base, 512 source tokens". */
  readonly group: string;
  readonly series: string;
  readonly x: number;
  readonly y: number;
}

/**
 * A share of the limit that is wanted, from below or from above; or one that the interval of the
 * ratio has to reach: that it is less has not been shown then.
 */
export type Wanted =
  { readonly atLeast: number } | { readonly below: number } | { readonly reaches: number };

/** A measured value as a share of its limit: what the machine can do, or what a peer does. */
export interface Measurement {
  readonly name: string;
  /** Median over the repetitions, as is `limit`. */
  readonly value: number;
  readonly limitName: string;
  readonly limit: number;
  /** Unit of `value` and `limit`, e.g. "GB/s". */
  readonly unit: string;
  /** Of `value / limit`, each repetition with the limit measured beside it. */
  readonly spread?: Quartiles;
  /** Of what was measured in turn: the median of the ratios, which then is the share. */
  readonly ratio?: Estimate;
  /** Bounds the share. */
  readonly wanted?: Wanted;
  /** Further figures for the record, by name. */
  readonly details?: Readonly<Record<string, number>>;
  readonly points?: readonly ChartPoint[];
}

/** What somebody else cannot do, and why. */
export interface Impossible {
  readonly name: string;
  readonly reason: string;
}

export interface Benchmark {
  readonly title: string;
  readonly measurements: readonly Measurement[];
  readonly impossible?: readonly Impossible[];
}

export type Shared = Pick<Measurement, 'value' | 'limit' | 'ratio'>;

export function share({ value, limit, ratio }: Shared): number {
  return ratio?.median ?? value / limit;
}

/** Whether the wish was fulfilled; undefined where there is none. */
export function isReached({ wanted, ...measurement }: Measurement): boolean | undefined {
  if (wanted === undefined) return undefined;
  const reached = share(measurement);
  if ('reaches' in wanted) return (measurement.ratio?.high ?? reached) >= wanted.reaches;
  return 'atLeast' in wanted ? reached >= wanted.atLeast : reached < wanted.below;
}

export function median(values: readonly number[]): number {
  return summarize(values).median;
}

export interface Compared extends Omit<Measurement, 'value' | 'limit' | 'spread' | 'ratio'> {
  /** One per repetition. */
  readonly values: readonly number[];
  /** One per repetition, or one that holds for all. */
  readonly limits: readonly number[];
}

/** A measurement of interleaved repetitions: medians, and the quartiles of the ratio. */
export function compare({ values, limits, ...measurement }: Compared): Measurement {
  const limit = median(limits);
  const { quartile1, quartile3 } = summarize(
    values.map((value, i) => value / (limits[i] ?? limit)),
  );
  return { ...measurement, value: median(values), limit, spread: [quartile1, quartile3] };
}

/** The same of rates that were measured in turn, one of each: their ratio with its interval. */
export function compareInTurn({ values, limits, ...measurement }: Compared): Measurement {
  const ratio = ratioEstimate(values, limits);
  return { ...measurement, value: median(values), limit: median(limits), ratio };
}

/** Runs all `subjects` in turn, so that a change of the machine's speed meets them alike. */
export async function interleave<Name extends string>(
  repetitions: number,
  subjects: Readonly<Record<Name, () => Promise<number>>>,
): Promise<Record<Name, number[]>> {
  const names = Object.keys(subjects) as Name[];
  const results = Object.fromEntries(names.map((name) => [name, [] as number[]]));
  for (let repetition = 0; repetition < repetitions; ++repetition) {
    for (const name of names) results[name]?.push(await subjects[name]());
  }
  return results as Record<Name, number[]>;
}
