/**
 * Longest common subsequences, 32 columns of the table at once: bit j of a row is 0 where the length
 * grows from column j to j + 1 (Hyyrö, 2004, "Bit-parallel LCS-length computation revisited").
 */

/** Where a token stands in a text: words of 32 tokens, and the bits in them. */
interface Places {
  readonly words: number[];
  readonly bits: number[];
}

/** A text, prepared to be compared with others. */
export interface IndexedTokens {
  readonly tokens: readonly string[];
  readonly places: ReadonlyMap<string, Places>;
}

export function indexTokens(tokens: readonly string[]): IndexedTokens {
  const places = new Map<string, Places>();
  tokens.forEach((token, index) => {
    let known = places.get(token);
    if (known === undefined) places.set(token, (known = { words: [], bits: [] }));
    const word = index >>> 5;
    const bit = 1 << (index & 31);
    const last = known.words.length - 1;
    if (known.words[last] === word) known.bits[last]! |= bit;
    else {
      known.words.push(word);
      known.bits.push(bit);
    }
  });
  return { tokens, places };
}

/** Words of 32 tokens. */
function wordsOf(tokens: number): number {
  return (tokens + 31) >>> 5;
}

/** Steps that comparing texts of these lengths takes at most, of some nanoseconds each. */
export function lcsCost(left: number, right: number): number {
  return left * wordsOf(right);
}

/** Bytes that {@link lcsIndices} takes for texts of these lengths. */
export function lcsBytes(reference: number, candidate: number): number {
  return 4 * (reference + 1) * wordsOf(candidate);
}

/** Length of the longest common subsequence. */
export function lcsLength(left: readonly string[], right: IndexedTokens): number {
  const row = firstRow(right);
  for (const token of left) advance(row, right.places.get(token));
  return zerosBefore(row, right.tokens.length);
}

/**
 * Indices into `reference` of one longest common subsequence, ascending. Of several, the one that
 * `rouge_score` reads out: going backwards, it skips a candidate token only if that alone keeps the
 * length, else a reference token.
 */
export function lcsIndices(reference: readonly string[], candidate: IndexedTokens): number[] {
  const rows = [firstRow(candidate)];
  for (const token of reference) {
    const row = rows.at(-1)!.slice();
    advance(row, candidate.places.get(token));
    rows.push(row);
  }
  const indices: number[] = [];
  let i = reference.length;
  let j = candidate.tokens.length;
  while (i > 0 && j > 0) {
    if (reference[i - 1] === candidate.tokens[j - 1]) {
      indices.push(i - 1);
      i -= 1;
      j -= 1;
    } else if (zerosBefore(rows[i]!, j - 1) > zerosBefore(rows[i - 1]!, j)) {
      j -= 1;
    } else {
      i -= 1;
    }
  }
  return indices.reverse();
}

/** The row of no tokens: no length grows. */
function firstRow({ tokens }: IndexedTokens): Uint32Array {
  return new Uint32Array(wordsOf(tokens.length)).fill(0xffffffff);
}

/** The row with one token more, which stands at `places`: V = (V + (V & M)) | (V & ~M). */
function advance(row: Uint32Array, places: Places | undefined): void {
  if (places === undefined) return;
  let carry = 0;
  for (let k = 0; k < places.words.length; k += 1) {
    const word = places.words[k]!;
    const old = row[word]!;
    const mask = places.bits[k]!;
    const sum = old + ((old & mask) >>> 0) + carry;
    row[word] = sum | (old & ~mask);
    carry = sum > 0xffffffff ? 1 : 0;
    if (carry === 1) carry = carryOver(row, word + 1, places.words[k + 1] ?? row.length);
  }
}

/** Adds 1 to the words from `first`, in which the token does not stand; 1 if it reaches `end`. */
function carryOver(row: Uint32Array, first: number, end: number): number {
  let word = first;
  while (word < end && row[word] === 0xffffffff) word += 1;
  if (word >= end) return 1;
  row[word] = (row[word]! + 1) | row[word]!;
  return 0;
}

/** Zero bits of a row in its first `count` columns: the length of the subsequence there. */
function zerosBefore(row: Uint32Array, count: number): number {
  let zeros = 0;
  for (let word = 0; word < count >>> 5; word += 1) zeros += bitCount(~row[word]!);
  const rest = count & 31;
  return rest === 0 ? zeros : zeros + bitCount(~row[count >>> 5]! & ((1 << rest) - 1));
}

function bitCount(bits: number): number {
  let pairs = bits - ((bits >>> 1) & 0x55555555);
  pairs = (pairs & 0x33333333) + ((pairs >>> 2) & 0x33333333);
  return Math.imul((pairs + (pairs >>> 4)) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
