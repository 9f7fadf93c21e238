/** Ratios of what was measured in turn, and how far their median may be due to chance. */

/** A median with the interval that holds the true one with 95 % confidence. */
export interface Estimate {
  readonly median: number;
  readonly low: number;
  readonly high: number;
}

/**
 * The sign test turned round: the k-th smallest and the k-th largest value, with the largest k at
 * which chance puts the true median outside of them in at most 5 % of all cases. It assumes nothing
 * of the distribution. Under six values no such k exists: their whole range is given.
 */
export function medianEstimate(values: readonly number[]): Estimate {
  const sorted = Float64Array.from(values).sort();
  const skipped = Math.max(0, mostSkipped(sorted.length));
  const at = (index: number): number => sorted[index] ?? NaN;
  const middle = (sorted.length - 1) / 2;
  return {
    median: (at(Math.floor(middle)) + at(Math.ceil(middle))) / 2,
    low: at(skipped),
    high: at(sorted.length - 1 - skipped),
  };
}

/** Values left out at each end, below 0 where even all are too few. */
function mostSkipped(count: number): number {
  let probability = 2 ** -count;
  let below = 0;
  for (let k = 0; k < count; ++k) {
    below += probability;
    if (below > 0.025) return k - 1;
    probability *= (count - k) / (k + 1);
  }
  return -1;
}

/** Of each value to the one measured beside it. */
export function ratioEstimate(values: readonly number[], others: readonly number[]): Estimate {
  return medianEstimate(values.map((value, i) => value / (others[i] ?? NaN)));
}

/**
 * Runs all `subjects` once in each of `alternations`, each time beginning with the next one: what
 * comes first after a pause, or behind one that leaves the caches full, is somebody else each time.
 */
export async function alternate<Name extends string>(
  alternations: number,
  subjects: ReadonlyMap<Name, () => Promise<number>>,
): Promise<Map<Name, number[]>> {
  const all = [...subjects];
  const results = new Map(all.map(([name]): [Name, number[]] => [name, []]));
  for (let i = 0; i < alternations; ++i) {
    for (let j = 0; j < all.length; ++j) {
      const [name, measure] = all[(i + j) % all.length]!;
      results.get(name)?.push(await measure());
    }
  }
  return results;
}
