/** Every pair of variants of one data set, compared. */
import type { Comparison, Estimate } from '../report-types.ts';
import type { FinishedRun, Metric } from '../results.ts';
import { bootstrap } from './bootstrap.ts';
import { holm } from './corrections.ts';
import { resample } from './resampling.ts';

export interface NamedRuns {
  readonly name: string;
  /** At least one; one for each seed. */
  readonly runs: readonly FinishedRun[];
  /** Name of the variant that this one is measured by. */
  readonly baseline?: string | undefined;
}

export interface RunsComparison {
  readonly scores: ReadonlyMap<string, Estimate>;
  readonly comparisons: readonly Comparison[];
}

/** @throws WgqaError ABORTED */
export async function compareRuns(
  variants: readonly NamedRuns[],
  metric: Metric,
  signal: AbortSignal | undefined,
): Promise<RunsComparison> {
  const { scores, differences } = await bootstrap(
    variants.map(({ name, runs }) => ({
      name,
      bySeed: new Map(runs.map(({ result, outputs }) => [result.seed, resample(metric, outputs)])),
    })),
    { signal },
  );
  const bytes = new Map(variants.map(({ name, runs }) => [name, kvBytes(runs)]));
  const adjusted = holm(differences.map(({ pValue }) => pValue));
  const baselines = new Map(variants.map(({ name, baseline }) => [name, baseline]));
  const isPlanned = ({ variant, other }: Pick<Comparison, 'variant' | 'other'>): boolean =>
    baselines.get(variant) === other || baselines.get(other) === variant;
  const planned = differences.filter(isPlanned);
  const plannedPValues = holm(planned.map(({ pValue }) => pValue));
  const comparisons = differences.map((difference, i) => ({
    ...difference,
    sameKvBytes: bytes.get(difference.variant) === bytes.get(difference.other),
    adjustedPValue: adjusted[i] ?? NaN,
    ...(isPlanned(difference) && {
      plannedPValue: plannedPValues[planned.indexOf(difference)] ?? NaN,
    }),
  }));
  return { scores, comparisons };
}

/** Of K and V, per token of self- and of cross-attention. */
export function kvBytes([first]: readonly FinishedRun[]): number {
  const { selfAttention = NaN, crossAttention = NaN } = first?.result.kvBytesPerToken ?? {};
  return selfAttention + crossAttention;
}
