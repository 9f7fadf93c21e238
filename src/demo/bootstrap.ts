/** How far a difference of two corpus scores may be due to the choice of examples. */
import { CounterRandom } from '../data/random.ts';

export interface Interval {
  readonly low: number;
  readonly high: number;
}

const RESAMPLES = 2000;

/**
 * The 95 % interval of mean(a) − mean(b) by paired bootstrap (Koehn, 2004, W04-3250): the scores of
 * an example are drawn together, with replacement. A pure function of the seed.
 */
export function pairedBootstrap(
  a: readonly number[],
  b: readonly number[],
  seed: number,
): Interval {
  const differences = a.map((value, i) => value - (b[i] ?? NaN));
  const random = new CounterRandom(seed, 0);
  const means = Float64Array.from({ length: RESAMPLES }, () => {
    let sum = 0;
    for (const _ of differences) sum += differences[random.nextBelow(differences.length)] ?? NaN;
    return sum / differences.length;
  }).sort();
  const at = (share: number): number => means[Math.round(share * (RESAMPLES - 1))] ?? NaN;
  return { low: at(0.025), high: at(0.975) };
}
