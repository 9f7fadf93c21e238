/** Occurrences of each n-gram, keyed by its tokens joined with a space (tokens contain none). */
export type NgramCounts = Map<string, number>;

/** Counts the n-grams of length `order`. */
export function countNgrams(tokens: readonly string[], order: number): NgramCounts {
  const counts: NgramCounts = new Map();
  for (let start = 0; start + order <= tokens.length; start += 1) {
    const key = tokens.slice(start, start + order).join(' ');
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return counts;
}

/** Size of the multiset intersection: each n-gram counts as often as it occurs in both. */
export function countMatches(left: NgramCounts, right: NgramCounts): number {
  let matches = 0;
  for (const [key, count] of left) matches += Math.min(count, right.get(key) ?? 0);
  return matches;
}
