/** Correction of p-values for the number of comparisons. */

/**
 * Holm's step-down correction (Scandinavian Journal of Statistics 6, 1979): as strict as Bonferroni
 * about false findings, and never weaker. In the order of `pValues`.
 */
export function holm(pValues: readonly number[]): number[] {
  const adjusted = new Array<number>(pValues.length).fill(NaN);
  const order = [...pValues.keys()].sort((a, b) => pValues[a]! - pValues[b]!);
  let largest = 0;
  order.forEach((index, rank) => {
    largest = Math.max(largest, Math.min(1, (pValues.length - rank) * pValues[index]!));
    adjusted[index] = largest;
  });
  return adjusted;
}
