import { describe, expect, test } from '@jest/globals';
import { CounterRandom } from '../../src/data/random.ts';
import { METRICS, type RunResult } from '../../src/experiment/results.ts';
import { bootstrap, type SeededMetrics } from '../../src/experiment/statistics/bootstrap.ts';
import { holm } from '../../src/experiment/statistics/corrections.ts';
import { resample, type ResampledMetric } from '../../src/experiment/statistics/resampling.ts';
import { oneSampleTTest, twoSidedPValue } from '../../src/experiment/statistics/student.ts';
import { measureMovement } from '../../src/experiment/statistics/weights.ts';
import { computeBleu, computeRouge, meanLoss } from '../../src/index.ts';

const WORDS =
  'a small library that reads and writes text files of any size for other programs'.split(' ');

/** Pairs of which the output shares some words with the target. */
function makeOutputs(count: number, seed: number) {
  const random = new CounterRandom(seed, 0);
  const text = () =>
    Array.from({ length: 5 + random.nextBelow(8) }, () => WORDS[random.nextBelow(WORDS.length)]);
  return Array.from({ length: count }, () => ({
    target: text().join(' '),
    output: text().join(' '),
    lossSum: 30 * random.nextUint32() * 2 ** -32,
    tokens: 1 + random.nextBelow(9),
  }));
}

describe('a resampled metric', () => {
  const outputs = makeOutputs(40, 1);
  const random = new CounterRandom(2, 0);
  const drawn = Int32Array.from({ length: 40 }, () => random.nextBelow(4));
  const multiset = outputs.flatMap((pair, i) => Array.from({ length: drawn[i] ?? 0 }, () => pair));

  test.each(METRICS)('%s is that of the texts, whole and drawn', (metric) => {
    const expected = (pairs: typeof outputs): number => {
      const hypotheses = pairs.map(({ output }) => output);
      const references = pairs.map(({ target }) => target);
      if (metric === 'bleu') return computeBleu(hypotheses, references).score;
      if (metric === 'logLikelihood') return -meanLoss(pairs);
      return 100 * computeRouge(hypotheses, references, { types: [metric] }).mean[metric].fmeasure;
    };
    const resampled = resample(metric, outputs);
    expect(resampled.score(new Int32Array(40).fill(1))).toBe(expected(outputs));
    // Sums in another order.
    expect(resampled.score(drawn)).toBeCloseTo(expected(multiset), 10);
  });
});

/** The mean of `values` as a metric. */
function meanMetric(values: readonly number[]): ResampledMetric {
  return {
    length: values.length,
    score: (counts) => {
      const total = counts.reduce((sum, count) => sum + count, 0);
      return values.reduce((sum, value, i) => sum + value * (counts[i] ?? 0), 0) / total;
    },
  };
}

/** Roughly standard normal: twelve uniform draws. */
function normal(random: CounterRandom): number {
  let sum = -6;
  for (let i = 0; i < 12; ++i) sum += random.nextUint32() / 2 ** 32;
  return sum;
}

function normals(random: CounterRandom, count: number, mean: number): number[] {
  return Array.from({ length: count }, () => mean + normal(random));
}

describe('the bootstrap', () => {
  const random = new CounterRandom(3, 0);
  const common = normals(random, 200, 30);
  const variantOf = (name: string, shift: number, seeds: readonly number[]): SeededMetrics => ({
    name,
    bySeed: new Map(
      seeds.map((seed) => [seed, meanMetric(common.map((value) => value + shift + seed / 100))]),
    ),
  });

  test('knows that what is common to pairs is no difference', async () => {
    const variants = [variantOf('a', 0, [0, 1]), variantOf('b', 0.25, [0, 1])];
    const { scores, differences } = await bootstrap(variants, { resamples: 400 });
    const score = scores.get('a');
    expect((score?.high ?? 0) - (score?.low ?? 0)).toBeGreaterThan(0.2);
    expect(differences).toHaveLength(1);
    expect(differences[0]).toMatchObject({ variant: 'b', other: 'a', pValue: 2 / 401 });
    for (const value of Object.values(differences[0]?.difference ?? {})) {
      expect(value).toBeCloseTo(0.25, 10);
    }
  });

  test('widens with what seeds differ by', async () => {
    const noisy = (name: string, shifts: readonly number[]): SeededMetrics => ({
      name,
      bySeed: new Map(shifts.map((s, seed) => [seed, meanMetric(common.map((v) => v + s))])),
    });
    const variants = [noisy('a', [0, 0, 0]), noisy('b', [-1, 0.5, 1.2])];
    const { differences } = await bootstrap(variants, { resamples: 400 });
    const difference = differences[0]?.difference ?? { low: NaN, high: NaN };
    expect(difference.low).toBeLessThan(-0.4);
    expect(difference.high).toBeGreaterThan(0.9);
  });

  test('compares variants over the seeds that both have', async () => {
    const { differences } = await bootstrap(
      [variantOf('a', 0, [0, 40]), variantOf('b', 0.1, [0]), variantOf('c', 0, [7])],
      { resamples: 50 },
    );
    const means = differences.map(({ variant, other, difference }) => [
      variant,
      other,
      Number(difference.mean.toFixed(6)),
    ]);
    expect(means).toEqual([
      ['b', 'a', 0.1],
      ['a', 'c', 0.13],
      ['b', 'c', 0.03],
    ]);
  });

  test('is a pure function of its seed', async () => {
    const variants = [variantOf('a', 0, [0]), variantOf('b', 0.1, [0])];
    const run = (seed: number) => bootstrap(variants, { seed, resamples: 50 });
    expect(await run(1)).toEqual(await run(1));
    expect(await run(1)).not.toEqual(await run(2));
  });

  test('covers the true difference as often as it says', async () => {
    const draws = new CounterRandom(5, 0);
    let covered = 0;
    const trials = 200;
    for (let trial = 0; trial < trials; ++trial) {
      const variants = ['a', 'b'].map((name, i) => ({
        name,
        bySeed: new Map([[0, meanMetric(normals(draws, 60, 0.3 * i))]]),
      }));
      const { differences } = await bootstrap(variants, { seed: trial, resamples: 200 });
      const { variant, difference } = differences[0]!;
      const truth = variant === 'b' ? 0.3 : -0.3;
      if (difference.low <= truth && truth <= difference.high) ++covered;
    }
    // Binomial with p = 0.95: three standard deviations are 0.046; percentile intervals are a bit narrow.
    expect(covered / trials).toBeGreaterThan(0.88);
    expect(covered / trials).toBeLessThan(0.995);
  });

  test('is too sure of itself where few seeds differ by more than test pairs do', async () => {
    const draws = new CounterRandom(6, 0);
    const noisySeeds = (name: string): SeededMetrics => ({
      name,
      // The standard error over test pairs is 1 / sqrt(60) = 0.13; seeds spread by 0.8.
      bySeed: new Map(
        [0, 1, 2].map((seed) => [seed, meanMetric(normals(draws, 60, 0.8 * normal(draws)))]),
      ),
    });
    let covered = 0;
    const trials = 150;
    for (let trial = 0; trial < trials; ++trial) {
      const variants = [noisySeeds('a'), noisySeeds('b')];
      const { differences } = await bootstrap(variants, { seed: trial, resamples: 200 });
      const [{ difference }] = differences as [(typeof differences)[0]];
      if (difference.low <= 0 && 0 <= difference.high) ++covered;
    }
    // Simulated apart, in numpy, over 4,000 trials: 0.757. Three standard deviations are 0.105.
    expect(covered / trials).toBeGreaterThan(0.65);
    expect(covered / trials).toBeLessThan(0.87);
  });

  test('compares runs over the same test pairs only', async () => {
    const short = { name: 'b', bySeed: new Map([[0, meanMetric(common.slice(1))]]) };
    const idle = { name: 'c', bySeed: new Map<number, ResampledMetric>() };
    for (const wrong of [short, idle]) {
      await expect(bootstrap([variantOf('a', 0, [0]), wrong])).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        field: wrong.name,
      });
    }
  });

  test('stops when it is told to', async () => {
    const variants = [variantOf('a', 0, [0]), variantOf('b', 0.1, [0])];
    await expect(bootstrap(variants, { signal: AbortSignal.abort() })).rejects.toMatchObject({
      code: 'ABORTED',
    });
  });
});

test('Holm’s correction', () => {
  // By hand: 3 x 0.01, then 2 x 0.02, then 0.03 raised to what came before.
  expect(holm([0.02, 0.03, 0.01])).toEqual([0.04, 0.04, 0.03]);
  // By hand: 4 x 0.005, 3 x 0.01, 2 x 0.03, then 0.04 raised to what came before.
  const known = [0.03, 0.06, 0.06, 0.02];
  holm([0.01, 0.04, 0.03, 0.005]).forEach((p, i) => {
    expect(p).toBeCloseTo(known[i] ?? NaN, 12);
  });
  expect(holm([0.6, 0.9])).toEqual([1, 1]);
  expect(holm([])).toEqual([]);
});

describe('Student’s distribution', () => {
  // mpmath 1.3, 50 digits: betainc(nu/2, 1/2, 0, nu/(nu + t^2), regularized=True).
  test.each([
    [2, 10, 0.07338803477074037],
    [-13.5, 575, 2.831859832387599e-36],
    [-5, 3, 0.015392438073302301],
    [0.1, 1, 0.9365489651388929],
    [1.96, 1e6, 0.04999606758526979],
    [40, 12, 3.851229580772034e-14],
    [1e-3, 7, 0.9992300172449988],
    [-37, 575, 3.1774489811266214e-154],
  ])('t = %d with %d degrees of freedom', (statistic, degrees, expected) => {
    // With a million degrees of freedom, logarithms of 1e7 are subtracted: nine digits are left.
    expect(twoSidedPValue(statistic, degrees) / expected).toBeCloseTo(1, 9);
  });

  test('stays a number where there is nothing to divide by', () => {
    expect(twoSidedPValue(-105, 575)).toBe(0);
    expect(oneSampleTTest({ count: 5, mean: 1, variance: 0 }, 1)).toEqual({
      statistic: 0,
      pValue: 1,
    });
    expect(oneSampleTTest({ count: 5, mean: 1, variance: 0 }, 2).pValue).toBe(0);
    expect(oneSampleTTest({ count: 1, mean: 1, variance: 0 }, 2).pValue).toBe(1);
  });
});

describe('movement of merge weights', () => {
  const group = (layer: number, values: readonly number[]) =>
    ({
      layer,
      module: 'decoderCross',
      projection: 'k',
      granularity: 'head',
      initial: 0.5,
      values,
    }) as const;
  const result = (...mergeWeights: RunResult['mergeWeights']) => ({ mergeWeights }) as RunResult;

  test('is over all seeds, and per layer', () => {
    const results = [
      result(group(0, [0.4, 0.6]), group(1, [0.1, 0.3])),
      result(group(0, [0.5, 0.5]), group(1, [0.2, 0.2])),
    ];
    const [all, first, second] = measureMovement('WGQA', results, 0.9);
    expect(all).toMatchObject({ variant: 'WGQA', count: 8, decayedInitial: 0.45 });
    expect(all?.meanAbsoluteDifference).toBeCloseTo((0.2 + 1.2) / 8, 12);
    expect(first).toMatchObject({ layer: 0, count: 4, tStatistic: 0, pValue: 1 });
    // 0.1, 0.3, 0.2, 0.2: mean 0.2, standard error sqrt(0.02 / 3) / 2.
    expect(second?.tStatistic).toBeCloseTo(-0.3 / (Math.sqrt(0.02 / 3) / 2), 10);
    expect(all?.histogram.counts.reduce((sum, count) => sum + count, 0)).toBe(8);
  });

  test('is tested as SciPy tests it', () => {
    const values = [0.4, 0.6, 0.1, 0.3, 0.5, 0.5, 0.2, 0.2];
    const [all] = measureMovement('WGQA', [result(group(0, values))], 0.9);
    // scipy.stats.ttest_1samp(values, 0.5), then (values, 0.45)
    expect(all?.tStatistic).toBeCloseTo(-2.393172105652397, 10);
    expect(all?.pValue).toBeCloseTo(0.0479447721796234, 10);
    expect(all?.decayedTStatistic).toBeCloseTo(-1.595448070434931, 10);
    expect(all?.decayedPValue).toBeCloseTo(0.1546422646893638, 10);
  });

  test('lies where NumPy says', () => {
    const values = [0.4, 0.6, 0.1, 0.3, 0.5, 0.5, 0.2, 0.25];
    const [all] = measureMovement('WGQA', [result(group(0, values))], 0.9);
    // numpy.quantile(values, [0, 0.25, 0.5, 0.75, 1])
    const quantiles = [0.1, 0.2375, 0.35, 0.5, 0.6];
    Object.values(all?.spread ?? {}).forEach((value, i) => {
      expect(value).toBeCloseTo(quantiles[i]!, 12);
    });
    expect(Object.keys(all?.spread ?? {})).toHaveLength(5);
  });

  test('is none of weights that never moved', () => {
    // MQA of 12 heads: a start that neither float32 nor a double holds.
    const still = { ...group(0, new Array<number>(10).fill(Math.fround(1 / 12))), initial: 1 / 12 };
    const [all] = measureMovement('WMQA', [result(still)], 0.9);
    expect(all).toMatchObject({ meanAbsoluteDifference: 0, tStatistic: 0, pValue: 1 });
    expect(all?.decayedPValue).toBe(0);
    expect(JSON.parse(JSON.stringify(all))).toEqual(all);
  });

  test('is of weights with a start', () => {
    expect(measureMovement('GQA', [result()], 1)).toEqual([]);
    const random = { ...group(0, [1, 2]), initial: 'random' } as const;
    expect(measureMovement('RANDWGQA', [result(random)], 1)).toEqual([]);
  });
});
