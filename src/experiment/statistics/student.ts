/**
 * Student's t-test. Written here because the libraries that have the distribution bring two hundred
 * packages (@stdlib) or are no longer kept (jstat).
 */

export interface TTest {
  readonly statistic: number;
  /** Two-sided; 0 where it is below what a double holds. */
  readonly pValue: number;
}

/** Sums of the values that a test needs. */
export interface Moments {
  readonly count: number;
  readonly mean: number;
  /** Of the sample: divided by count − 1. */
  readonly variance: number;
}

/** One-sample two-sided test of the mean; equal values are certain to differ, or certain not to. */
export function oneSampleTTest({ count, mean, variance }: Moments, expected: number): TTest {
  if (mean === expected || count < 2) return { statistic: 0, pValue: 1 };
  const error = Math.sqrt(variance / count);
  if (error === 0) return { statistic: Math.sign(mean - expected) * Number.MAX_VALUE, pValue: 0 };
  const statistic = (mean - expected) / error;
  return { statistic, pValue: twoSidedPValue(statistic, count - 1) };
}

/** P(|T| >= |t|) of Student's distribution: a regularised incomplete beta function of ν / (ν + t²). */
export function twoSidedPValue(statistic: number, degreesOfFreedom: number): number {
  const square = statistic * statistic;
  const tail = degreesOfFreedom / (degreesOfFreedom + square);
  return incompleteBeta(degreesOfFreedom / 2, 0.5, tail, square / (degreesOfFreedom + square));
}

/** I_x(a, b) by its continued fraction (DLMF 8.17.22); `rest` is 1 − x without cancellation. */
function incompleteBeta(a: number, b: number, x: number, rest: number): number {
  if (x <= 0) return 0;
  if (rest <= 0) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incompleteBeta(b, a, rest, x);
  const logBeta = logGamma(a) + logGamma(b) - logGamma(a + b);
  const front = Math.exp(a * Math.log(x) + b * Math.log(rest) - logBeta) / a;
  return front / continuedFraction(a, b, x);
}

const TERMS = 10_000;
const TINY = 1e-300;

/** 1 + d1/(1 + d2/(1 + …)), by Lentz's method from the front. */
function continuedFraction(a: number, b: number, x: number): number {
  let value = 1;
  let c = 1;
  let d = 0;
  for (let term = 1; term <= TERMS; ++term) {
    const m = term >> 1;
    const coefficient =
      term % 2 === 0
        ? (m * (b - m) * x) / ((a + 2 * m - 1) * (a + 2 * m))
        : (-(a + m) * (a + b + m) * x) / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / (1 + coefficient * d || TINY);
    c = 1 + coefficient / c || TINY;
    value *= c * d;
    if (Math.abs(c * d - 1) < Number.EPSILON) break;
  }
  return value;
}

// Stirling's series (DLMF 5.11.1), exact to a double from 10 on; below, by the recurrence.
function logGamma(x: number): number {
  let shift = 0;
  let z = x;
  for (; z < 10; ++z) shift += Math.log(z);
  const inverse = 1 / (z * z);
  const series =
    (1 / 12 - inverse * (1 / 360 - inverse * (1 / 1260 - inverse * (1 / 1680 - inverse / 1188)))) /
    z;
  return (z - 0.5) * Math.log(z) - z + 0.5 * Math.log(2 * Math.PI) + series - shift;
}
