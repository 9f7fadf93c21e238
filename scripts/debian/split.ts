import { createHash } from 'node:crypto';
import { Families } from './families.ts';
import { normalise, type KeyedPair } from './pairs.ts';

export interface Splits {
  readonly train: KeyedPair[];
  readonly validation: KeyedPair[];
  readonly test: KeyedPair[];
  readonly families: number;
  /** Training pairs left out because their family has more than `maxFamilySize`. */
  readonly thinned: number;
  /** Evaluation pairs left out because more than half of their text occurs in training text. */
  readonly overlapping: number;
}

export interface SplitOptions {
  /** Share of families for validation, and again for test. */
  readonly evaluationShare: number;
  /** Most pairs that one family gives to training: more would repeat themselves. */
  readonly maxFamilySize: number;
  /** Most pairs that one family gives to validation or test. */
  readonly maxEvaluationFamilySize: number;
}

const SHINGLE_WORDS = 8;

/**
 * Splits by family, so that no evaluation text has a near copy in training. Membership and order depend on package names alone.
 */
export function splitByFamily(pairs: readonly KeyedPair[], options: SplitOptions): Splits {
  const lists = familiesOf(pairs).map((members) => byHash(members.flatMap((i) => pairs[i] ?? [])));
  const splits = {
    train: [] as KeyedPair[],
    validation: [] as KeyedPair[],
    test: [] as KeyedPair[],
  };
  let thinned = 0;
  for (const family of lists) {
    const position = hashFraction(familyName(family));
    if (position < options.evaluationShare)
      splits.validation.push(...family.slice(0, options.maxEvaluationFamilySize));
    else if (position < 2 * options.evaluationShare)
      splits.test.push(...family.slice(0, options.maxEvaluationFamilySize));
    else {
      splits.train.push(...family.slice(0, options.maxFamilySize));
      thinned += Math.max(0, family.length - options.maxFamilySize);
    }
  }
  const seen = new Set(splits.train.flatMap((pair) => shingles(pair.source)));
  const isNew = (pair: KeyedPair) => {
    const all = shingles(pair.source);
    return all.filter((shingle) => seen.has(shingle)).length * 2 <= all.length;
  };
  const validation = byHash(splits.validation.filter(isNew));
  const test = byHash(splits.test.filter(isNew));
  const overlapping =
    splits.validation.length + splits.test.length - validation.length - test.length;
  return {
    train: byHash(splits.train),
    validation,
    test,
    families: lists.length,
    thinned,
    overlapping,
  };
}

/** The first pairs of each family, at most `limit` of one, in the order of the list. */
export function firstOfFamilies(pairs: readonly KeyedPair[], limit: number): KeyedPair[] {
  const kept = familiesOf(pairs).flatMap((members) => members.slice(0, limit));
  return kept.sort((a, b) => a - b).flatMap((index) => pairs[index] ?? []);
}

/** The families as lists of indices into `pairs`. */
function familiesOf(pairs: readonly KeyedPair[]): number[][] {
  const families = new Families(pairs.length);
  pairs.forEach((pair, index) => {
    for (const key of pair.familyKeys) families.addKey(index, key);
  });
  return families.list();
}

/** The alphabetically first package: stable when the family gains or loses other members. */
function familyName(family: readonly KeyedPair[]): string {
  return family.reduce((name, pair) => (pair.package < name ? pair.package : name), '\u{10ffff}');
}

function byHash(pairs: readonly KeyedPair[]): KeyedPair[] {
  const keyed = pairs.map((pair) => ({
    pair,
    key: hashFraction(`${pair.package}\n${pair.source}`),
  }));
  return keyed.sort((a, b) => a.key - b.key).map(({ pair }) => pair);
}

/** A number in [0, 1) that depends on the text alone. */
function hashFraction(text: string): number {
  return createHash('sha256').update(text).digest().readUIntBE(0, 6) / 2 ** 48;
}

function shingles(text: string): string[] {
  const words = normalise(text).split(' ').slice(1); // the first word is the task prefix
  if (words.length <= SHINGLE_WORDS) return [words.join(' ')];
  return Array.from({ length: words.length - SHINGLE_WORDS + 1 }, (_, start) =>
    words.slice(start, start + SHINGLE_WORDS).join(' '),
  );
}
