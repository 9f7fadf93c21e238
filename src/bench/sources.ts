/** Token ids for benchmarks: spread over the vocabulary, end token and padding left out. */

/** A source that is the same for the same `seed`, and no other. */
export function sourceOf(vocabSize: number, tokens: number, seed: number): number[] {
  return Array.from(
    { length: tokens },
    (_, i) => 2 + ((7919 * seed + 104_729 * i) % (vocabSize - 2)),
  );
}

export function sourcesOf(
  vocabSize: number,
  count: number,
  tokens: number,
  firstSeed = 0,
): number[][] {
  return Array.from({ length: count }, (_, i) => sourceOf(vocabSize, tokens, firstSeed + i));
}
