/** Choosing tokens from rows of logits, as fast as JavaScript does it. */

export interface Candidate {
  readonly score: number;
  /** Row of the logits, and the token chosen in it. */
  readonly row: number;
  readonly tokenId: number;
}

/** Index of the largest of `length` values from `offset`; the first of equals. */
export function argmax(values: Float32Array, offset: number, length: number): number {
  let best = offset;
  let bestValue = values[offset]!;
  for (let i = offset + 1; i < offset + length; ++i) {
    const value = values[i]!;
    if (value > bestValue) {
      bestValue = value;
      best = i;
    }
  }
  return best - offset;
}

/** log of the sum of exponentials of `length` values from `offset`. */
export function logSumExp(values: Float32Array, offset: number, length: number): number {
  const largest = values[offset + argmax(values, offset, length)]!;
  let sum = 0;
  for (let i = offset; i < offset + length; ++i) sum += Math.exp(values[i]! - largest);
  return largest + Math.log(sum);
}

/**
 * The `count` best continuations of some rows, best first: a row's score so far plus the
 * log-probability of the token.
 */
export function bestContinuations(
  logits: Float32Array,
  vocabSize: number,
  rows: readonly { readonly row: number; readonly score: number }[],
  count: number,
): Candidate[] {
  const best: Candidate[] = [];
  for (const { row, score } of rows) {
    const offset = row * vocabSize;
    const base = score - logSumExp(logits, offset, vocabSize);
    let least = best.length < count ? -Infinity : best[count - 1]!.score;
    for (let tokenId = 0; tokenId < vocabSize; ++tokenId) {
      const total = base + logits[offset + tokenId]!;
      if (total <= least) continue;
      insert(best, { score: total, row, tokenId }, count);
      least = best.length < count ? -Infinity : best[count - 1]!.score;
    }
  }
  return best;
}

/** Keeps the list sorted and at most `count` long. */
function insert(best: Candidate[], candidate: Candidate, count: number): void {
  let place = best.length;
  while (place > 0 && best[place - 1]!.score < candidate.score) --place;
  best.splice(place, 0, candidate);
  if (best.length > count) best.pop();
}
