/**
 * How far scores and their differences may be due to chance: a paired bootstrap over test pairs
 * (Koehn, 2004, W04-3250) and over training seeds at once.
 */
import { setImmediate as nextTurn } from 'node:timers/promises';
import { CounterRandom } from '../../data/random.ts';
import { invalidArgument } from '../../errors.ts';
import { throwIfAborted } from '../../model/index.ts';
import type { Estimate } from '../report-types.ts';
import type { ResampledMetric } from './resampling.ts';

/** One variant: a metric for each of its seeds, all over the same test pairs. */
export interface SeededMetrics {
  readonly name: string;
  readonly bySeed: ReadonlyMap<number, ResampledMetric>;
}

export interface PairDifference {
  readonly variant: string;
  readonly other: string;
  /** variant − other: as observed, with its 95 % percentile interval. */
  readonly difference: Estimate;
  /** Two-sided: how often the resampled difference is on the other side of zero; never 0. */
  readonly pValue: number;
}

export interface BootstrapResult {
  readonly scores: ReadonlyMap<string, Estimate>;
  /** Each pair once, the better variant first. */
  readonly differences: readonly PairDifference[];
}

export interface BootstrapOptions {
  /** Default 0. */
  readonly seed?: number;
  /** Default 20,000: with 2,000, no p-value could survive the correction for 153 comparisons. */
  readonly resamples?: number;
  readonly signal?: AbortSignal | undefined;
}

/**
 * A variant's score is the mean over its seeds. Each resample draws test pairs once for all; a
 * difference is over the seeds that both variants have, or each over its own where they share none.
 * With one seed only the test pairs vary. A pure function of its arguments.
 * @throws WgqaError INVALID_ARGUMENT for a variant without a seed, or runs over different numbers of
 *   test pairs; ABORTED
 */
export async function bootstrap(
  variants: readonly SeededMetrics[],
  { seed = 0, resamples = 20_000, signal }: BootstrapOptions = {},
): Promise<BootstrapResult> {
  checkPairing(variants);
  const pairs = variants.flatMap((a, i) => variants.slice(i + 1).map((b) => pairOf(a, b)));
  const observed = new Resample(variants, undefined);
  const scores = variants.map(() => new Float64Array(resamples));
  const differences = pairs.map(() => new Float64Array(resamples));
  for (let index = 0; index < resamples; ++index) {
    const resample = new Resample(variants, new CounterRandom(seed, index));
    variants.forEach((variant, i) => (scores[i]![index] = resample.scoreOf(variant)));
    pairs.forEach((pair, i) => (differences[i]![index] = resample.differenceOf(pair)));
    await nextTurn();
    throwIfAborted(signal);
  }
  return {
    scores: new Map(
      variants.map((variant, i) => [variant.name, estimate(observed.scoreOf(variant), scores[i]!)]),
    ),
    differences: pairs.map((pair, i) =>
      describeDifference(pair, observed.differenceOf(pair), differences[i]!),
    ),
  };
}

/** A draw of test pairs means the same for every run only if all have the same pairs. */
function checkPairing(variants: readonly SeededMetrics[]): void {
  const lengths = variants.map(({ bySeed }) => [...bySeed.values()].map(({ length }) => length));
  const expected = lengths[0]?.[0];
  variants.forEach(({ name }, i) => {
    const found = lengths[i] ?? [];
    if (found.length > 0 && found.every((length) => length === expected)) return;
    const allowed = `one run or more, each over ${expected ?? 'the same'} test pairs`;
    throw invalidArgument(name, allowed, found.join(', '));
  });
}

/** Two variants and the seeds of each that are compared. */
interface Pair {
  readonly variant: SeededMetrics;
  readonly other: SeededMetrics;
  readonly seeds: readonly number[];
  readonly otherSeeds: readonly number[];
}

function pairOf(variant: SeededMetrics, other: SeededMetrics): Pair {
  const [seeds, otherSeeds] = [[...variant.bySeed.keys()], [...other.bySeed.keys()]];
  const shared = seeds.filter((seed) => other.bySeed.has(seed));
  if (shared.length > 0) return { variant, other, seeds: shared, otherSeeds: shared };
  return { variant, other, seeds, otherSeeds };
}

/** One draw of test pairs and seeds, or, without random numbers, all of them once. */
class Resample {
  readonly #random: CounterRandom | undefined;
  readonly #counts: Int32Array;
  /** Scores of this draw of test pairs. */
  readonly #scores = new Map<ResampledMetric, number>();
  readonly #seedDraws = new Map<string, readonly number[]>();

  constructor(variants: readonly SeededMetrics[], random: CounterRandom | undefined) {
    this.#random = random;
    const [first] = variants[0]?.bySeed.values() ?? [];
    const length = first?.length ?? 0;
    this.#counts = new Int32Array(length).fill(random ? 0 : 1);
    if (random) for (let i = 0; i < length; ++i) this.#counts[random.nextBelow(length)]! += 1;
  }

  scoreOf(variant: SeededMetrics): number {
    return this.#mean(variant, [...variant.bySeed.keys()]);
  }

  differenceOf({ variant, other, seeds, otherSeeds }: Pair): number {
    return this.#mean(variant, seeds) - this.#mean(other, otherSeeds);
  }

  #mean({ bySeed }: SeededMetrics, seeds: readonly number[]): number {
    const drawn = this.#draw(seeds);
    return drawn.reduce((sum, seed) => sum + this.#score(bySeed.get(seed)!), 0) / drawn.length;
  }

  /** The same draw for every variant with these seeds. */
  #draw(seeds: readonly number[]): readonly number[] {
    const random = this.#random;
    if (random === undefined) return seeds;
    const key = seeds.join();
    const drawn =
      this.#seedDraws.get(key) ?? seeds.map(() => seeds[random.nextBelow(seeds.length)]!);
    this.#seedDraws.set(key, drawn);
    return drawn;
  }

  #score(metric: ResampledMetric): number {
    const score = this.#scores.get(metric) ?? metric.score(this.#counts);
    this.#scores.set(metric, score);
    return score;
  }
}

function estimate(mean: number, resampled: Float64Array): Estimate {
  const sorted = resampled.toSorted();
  const at = (share: number): number => sorted[Math.round(share * (sorted.length - 1))] ?? NaN;
  return { mean, low: at(0.025), high: at(0.975) };
}

function describeDifference(pair: Pair, observed: number, resampled: Float64Array): PairDifference {
  const names = { variant: pair.variant.name, other: pair.other.name };
  const { low, high } = estimate(observed, resampled);
  const pValue = twoSided(resampled);
  if (observed >= 0) return { ...names, difference: { mean: observed, low, high }, pValue };
  const difference = { mean: -observed, low: -high, high: -low };
  return { variant: names.other, other: names.variant, difference, pValue };
}

/** Davison and Hinkley, 1997, Section 4.2: the observed data count as one resample. */
function twoSided(differences: Float64Array): number {
  const below = differences.filter((value) => value <= 0).length;
  const above = differences.filter((value) => value >= 0).length;
  return Math.min(1, (2 * (Math.min(below, above) + 1)) / (differences.length + 1));
}
