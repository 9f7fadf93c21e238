/**
 * Length of the longest common subsequence. Time O(n·m), memory O(m).
 */
export function lcsLength(left: readonly string[], right: readonly string[]): number {
  let previous = new Uint32Array(right.length + 1);
  let current = new Uint32Array(right.length + 1);
  for (const token of left) {
    fillRow(token, right, previous, current);
    [previous, current] = [current, previous];
  }
  return previous[right.length] ?? 0;
}

/**
 * Indices into `reference` of one longest common subsequence, ascending. Of several, the one that
 * `rouge_score` reads out: going backwards, it skips a candidate token only if that alone keeps the
 * length, else a reference token.
 */
export function lcsIndices(reference: readonly string[], candidate: readonly string[]): number[] {
  const table = [new Uint32Array(candidate.length + 1)];
  for (const token of reference) {
    const row = new Uint32Array(candidate.length + 1);
    fillRow(token, candidate, table.at(-1) ?? row, row);
    table.push(row);
  }
  const indices: number[] = [];
  let i = reference.length;
  let j = candidate.length;
  while (i > 0 && j > 0) {
    if (reference[i - 1] === candidate[j - 1]) {
      indices.push(i - 1);
      i -= 1;
      j -= 1;
    } else if ((table[i]?.[j - 1] ?? 0) > (table[i - 1]?.[j] ?? 0)) {
      j -= 1;
    } else {
      i -= 1;
    }
  }
  return indices.reverse();
}

/** One row of the table: lengths with `token` appended, given the row without it. */
function fillRow(
  token: string,
  right: readonly string[],
  previous: Uint32Array,
  current: Uint32Array,
): void {
  for (let j = 1; j <= right.length; j += 1) {
    current[j] =
      token === right[j - 1]
        ? (previous[j - 1] ?? 0) + 1
        : Math.max(previous[j] ?? 0, current[j - 1] ?? 0);
  }
}
