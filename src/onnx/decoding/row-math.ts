/** Arithmetic on one row of scores [vocabulary]; -Infinity forbids a token. */

export const FORBIDDEN = -Infinity;

export interface ScoredToken {
  readonly score: number;
  readonly token: number;
}

/** The order of candidates: by score, the lower token id on a tie. */
export function compareTokens(a: ScoredToken, b: ScoredToken): number {
  return b.score - a.score || a.token - b.token;
}

export function rowMax(row: Float32Array): number {
  let max = FORBIDDEN;
  for (const value of row) if (value > max) max = value;
  return max;
}

/** The best token, the lowest one on a tie; -1 if none is allowed. */
export function argmax(row: Float32Array): number {
  const max = rowMax(row);
  return max === FORBIDDEN ? -1 : row.indexOf(max);
}

/** False if a value is NaN or +Infinity, or all are -Infinity. */
export function isUsable(row: Float32Array): boolean {
  for (const value of row) if (!(value < Infinity)) return false;
  return rowMax(row) > FORBIDDEN;
}

/** log(sum of exp) of a row with an allowed token. */
export function logSumExp(row: Float32Array): number {
  const max = rowMax(row);
  let sum = 0;
  for (const value of row) sum += Math.exp(value - max);
  return Math.fround(max + Math.log(sum));
}

/** exp(value - max) of each token. */
export function softmaxWeights(row: Float32Array): Float32Array {
  const max = rowMax(row);
  return row.map((value) => Math.exp(value - max));
}

export function addToRow(row: Float32Array, value: number): void {
  for (let i = 0; i < row.length; ++i) row[i]! += value;
}

/** Beyond this, sorting all is faster than inserting one by one. */
const MOST_INSERTED = 256;

/** The `count` best allowed tokens, best first, with row[token] + offset as score, or fewer. */
export function topTokens(row: Float32Array, offset: number, count: number): ScoredToken[] {
  if (count > MOST_INSERTED) return rankedTokens(row, offset).slice(0, count);
  const best: ScoredToken[] = [];
  let threshold = FORBIDDEN;
  for (let token = 0; token < row.length; ++token) {
    const score = Math.fround(row[token]! + offset);
    // Tokens come in ascending order: one that only equals the last ranks behind it.
    if (!(score > threshold)) continue;
    let place = best.length;
    while (place > 0 && best[place - 1]!.score < score) --place;
    best.splice(place, 0, { score, token });
    if (best.length > count) best.pop();
    if (best.length === count) threshold = best[count - 1]!.score;
  }
  return best;
}

/** All allowed tokens, best first. */
export function rankedTokens(row: Float32Array, offset = 0): ScoredToken[] {
  const tokens: ScoredToken[] = [];
  for (let token = 0; token < row.length; ++token) {
    const score = Math.fround(row[token]! + offset);
    if (score > FORBIDDEN) tokens.push({ score, token });
  }
  return tokens.sort(compareTokens);
}
