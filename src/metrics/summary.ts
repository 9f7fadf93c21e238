/** What ROUGE-Lsum counts: matches of the lines of two texts. */
import { type IndexedTokens, indexTokens, lcsBytes, lcsCost, lcsIndices } from './lcs.ts';
import { countNgrams } from './ngrams.ts';

type Line = readonly string[];

/** Comparing two lines takes this long at least, in steps of {@link lcsCost}. */
const LINE_COST = 64;
/** Most bytes of the table of two lines. */
const MAX_TABLE_BYTES = 2 ** 28;

/**
 * Tokens of `target` in the union of the longest common subsequences of their line with each line of
 * `prediction`: section 3.2 of Lin (2004), with the clipping of repeated tokens of ROUGE 1.5.5.
 * `checkCost` is told how many steps it takes before they are taken.
 */
export function summaryMatches(
  target: readonly Line[],
  prediction: readonly Line[],
  checkCost: (steps: number) => void,
): number {
  const lines = new DistinctLines(prediction);
  // Equal lines have equal matches.
  const covered = new Map<string, string[]>();
  const distinct = new Map(target.map((line) => [keyOf(line), line]));
  let cost = 0;
  for (const line of distinct.values()) checkCost((cost += lines.costOf(line)));
  for (const [key, line] of distinct) covered.set(key, lines.unionLcs(line));

  const targetLeft = countNgrams(target.flat(), 1);
  const predictionLeft = countNgrams(prediction.flat(), 1);
  let hits = 0;
  for (const line of target) {
    for (const token of covered.get(keyOf(line)) ?? []) {
      const inTarget = targetLeft.get(token) ?? 0;
      const inPrediction = predictionLeft.get(token) ?? 0;
      if (inTarget === 0 || inPrediction === 0) continue;
      hits += 1;
      targetLeft.set(token, inTarget - 1);
      predictionLeft.set(token, inPrediction - 1);
    }
  }
  return hits;
}

/** Tokens hold no spaces. */
function keyOf(line: Line): string {
  return line.join(' ');
}

/** The different lines of a text, found by their tokens. */
class DistinctLines {
  readonly #lines: readonly IndexedTokens[];
  readonly #withToken = new Map<string, number[]>();

  constructor(lines: readonly Line[]) {
    this.#lines = [...new Map(lines.map((line) => [keyOf(line), line])).values()].map(indexTokens);
    this.#lines.forEach(({ places }, index) => {
      for (const token of places.keys()) {
        const known = this.#withToken.get(token);
        if (known === undefined) this.#withToken.set(token, [index]);
        else known.push(index);
      }
    });
  }

  /** An upper bound of the steps of {@link unionLcs}; infinite where a table would be too large. */
  costOf(line: Line): number {
    let cost = 0;
    for (const token of new Set(line)) {
      for (const index of this.#withToken.get(token) ?? []) {
        const { length } = this.#lines[index]!.tokens;
        if (lcsBytes(line.length, length) > MAX_TABLE_BYTES) return Infinity;
        cost += LINE_COST + lcsCost(line.length, length);
      }
    }
    return cost;
  }

  /** Tokens of `line` that are in its longest common subsequence with any of the lines. */
  unionLcs(line: Line): string[] {
    const sharing = new Set(line.flatMap((token) => this.#withToken.get(token) ?? []));
    const covered = new Set<number>();
    for (const index of sharing) {
      for (const place of lcsIndices(line, this.#lines[index]!)) covered.add(place);
    }
    return line.filter((_, place) => covered.has(place));
  }
}
