/** Corpus metrics of any multiset of test pairs, from what each pair adds to them. */
import { computeRouge, computeSentenceBleu } from '../../index.ts';
import { scoreBleuStatistics } from '../../metrics/index.ts';
import type { Metric, RunOutput } from '../results.ts';

export interface ResampledMetric {
  /** Test pairs. */
  readonly length: number;
  /**
   * The metric where pair i occurs `counts[i]` times; with every count 1, that of the whole test set.
   * @param counts [length], at least one of them positive
   */
  score(counts: Int32Array): number;
}

/** `metric` of one run's outputs, in the order of the test pairs. */
export function resample(metric: Metric, outputs: readonly RunOutput[]): ResampledMetric {
  if (metric === 'bleu') return resampleBleu(outputs);
  return metric === 'logLikelihood'
    ? resampleLogLikelihood(outputs)
    : resampleRouge(metric, outputs);
}

function resampleLogLikelihood(outputs: readonly RunOutput[]): ResampledMetric {
  const sums = Float64Array.from(outputs, ({ lossSum }) => lossSum);
  const tokens = Float64Array.from(outputs, (output) => output.tokens);
  // In this order, with every count 1, meanLoss to the last bit.
  return { length: sums.length, score: (counts) => -ratio(sums, tokens, counts) };
}

/** Of two sums over the test pairs, each pair as often as `counts` says. */
function ratio(above: Float64Array, below: Float64Array, counts: Int32Array): number {
  let sum = 0;
  let total = 0;
  for (let i = 0; i < counts.length; ++i) {
    sum += above[i]! * counts[i]!;
    total += below[i]! * counts[i]!;
  }
  return sum / total;
}

function resampleRouge(
  metric: Exclude<Metric, 'bleu' | 'logLikelihood'>,
  outputs: readonly RunOutput[],
): ResampledMetric {
  const { examples } = computeRouge(
    outputs.map(({ output }) => output),
    outputs.map(({ target }) => target),
    { types: [metric] },
  );
  const values = Float64Array.from(examples, (example) => example[metric].fmeasure);
  const ones = new Float64Array(values.length).fill(1);
  // In this order, with every count 1, computeRouge's mean to the last bit.
  return { length: values.length, score: (counts) => 100 * ratio(values, ones, counts) };
}

const ORDERS = 4;
/** Two lengths, then matches and n-grams of each order. */
const WIDTH = 2 + 2 * ORDERS;

function resampleBleu(outputs: readonly RunOutput[]): ResampledMetric {
  const table = Float64Array.from(
    outputs.flatMap(({ target, output }) => {
      const segment = computeSentenceBleu(output, target, { maxOrder: ORDERS });
      const { hypothesisLength, referenceLength, counts, totals } = segment;
      return [hypothesisLength, referenceLength, ...counts, ...totals];
    }),
  );
  const sums = new Float64Array(WIDTH);
  return {
    length: outputs.length,
    score(counts) {
      sums.fill(0);
      for (let i = 0; i < outputs.length; ++i) {
        const count = counts[i]!;
        for (let j = 0; j < WIDTH; ++j) sums[j]! += count * table[i * WIDTH + j]!;
      }
      return scoreBleuStatistics({
        hypothesisLength: sums[0]!,
        referenceLength: sums[1]!,
        counts: [...sums.subarray(2, 2 + ORDERS)],
        totals: [...sums.subarray(2 + ORDERS)],
      }).score;
    },
  };
}
