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
  return metric === 'bleu' ? resampleBleu(outputs) : resampleRouge(metric, outputs);
}

function resampleRouge(
  metric: Exclude<Metric, 'bleu'>,
  outputs: readonly RunOutput[],
): ResampledMetric {
  const { examples } = computeRouge(
    outputs.map(({ output }) => output),
    outputs.map(({ target }) => target),
    { types: [metric] },
  );
  const values = Float64Array.from(examples, (example) => example[metric].fmeasure);
  return {
    length: values.length,
    score(counts) {
      let sum = 0;
      let total = 0;
      for (let i = 0; i < values.length; ++i) {
        sum += values[i]! * counts[i]!;
        total += counts[i]!;
      }
      // In this order, with every count 1, computeRouge's mean to the last bit.
      return 100 * (sum / total);
    },
  };
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
