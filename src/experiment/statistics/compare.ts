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
  const comparisons = differences.map((difference, i) => ({
    ...difference,
    sameKvBytes: bytes.get(difference.variant) === bytes.get(difference.other),
    adjustedPValue: adjusted[i] ?? NaN,
  }));
  return { scores, comparisons };
}

function kvBytes([first]: readonly FinishedRun[]): number {
  const { selfAttention = NaN, crossAttention = NaN } = first?.result.kvBytesPerToken ?? {};
  return selfAttention + crossAttention;
}
