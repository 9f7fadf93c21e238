/** The report of an experiment: plain data, the same in JSON, Markdown and HTML. */
import type { MergeWeightGroup } from '../report/index.ts';
import type { Metric, TestScores } from './results.ts';

export interface ExperimentReport {
  readonly title: string;
  /** ISO 8601 time, UTC. */
  readonly createdAt: string;
  readonly version: string;
  /** 'paper': as the authors' code trains and scores; 'sound': mended. */
  readonly settings: 'paper' | 'sound';
  /** What the settings mean, in sentences. */
  readonly notes: readonly string[];
  readonly base: {
    readonly name: string;
    readonly architecture: string;
    readonly parameters: number;
  };
  readonly training: string;
  readonly decoding: string;
  readonly seeds: readonly number[];
  readonly datasets: readonly DatasetReport[];
  /** Runs that the plan names and that are not there yet. */
  readonly missingRuns: number;
}

export interface DatasetReport {
  readonly name: string;
  readonly description: string;
  readonly trainPairs: number;
  readonly validationPairs: number;
  readonly testPairs: number;
  /** The plan's metric: that of scores and charts. */
  readonly metric: Metric;
  /** Name of the data set's column in the paper's Table 1 or 2, where it has one. */
  readonly paperColumn?: PaperColumn;
  readonly rows: readonly VariantRow[];
  /** By the plan's metric, then by log-likelihood, which tells apart what texts of few pairs cannot. */
  readonly measures: readonly [Measure, ...Measure[]];
  readonly weights: readonly WeightMovement[];
  readonly samples: readonly Sample[];
}

/** The variants compared by one metric. */
export interface Measure {
  readonly metric: Metric;
  /** Every pair of variants, the better one of a pair first. */
  readonly comparisons: readonly Comparison[];
}

export type PaperColumn = 'multi-news' | 'cnn-dailymail' | 'wmt14' | 't5-small-cnn-dailymail';

/** An estimate with its 95 % interval. */
export interface Estimate {
  readonly mean: number;
  readonly low: number;
  readonly high: number;
}

export interface VariantRow {
  readonly variant: string;
  /** What sets the variant apart, in words ("4 K/V heads, a weight per head"). */
  readonly description: string;
  readonly heads: number;
  /** Mean over the decoder's layers. */
  readonly kvHeads: number;
  readonly parameters: number;
  readonly trainedParameters: number;
  /** Parameters that the conversion added and folding removes: merge and expansion weights. */
  readonly mergeParameters: number;
  /**
   * The mean-pooled variant that this one is measured by, trained if this is, with as many K/V bytes
   * or the next larger; absent for those themselves and for what is larger than all of them.
   */
  readonly baseline?: string;
  readonly kvBytesPerToken: { readonly selfAttention: number; readonly crossAttention: number };
  /** Seeds whose runs are finished. */
  readonly seeds: readonly number[];
  /** Scores of each seed, in that order. */
  readonly perSeed: readonly TestScores[];
  /** Of the plan's metric, over seeds and test pairs. */
  readonly score: Estimate;
  /** Mean over seeds. */
  readonly trainMilliseconds: number;
  readonly trainTokensPerSecond: number;
  readonly generatedTokensPerSecond: number;
  /** Validation loss at each step that all seeds have: mean over seeds, lowest and highest. */
  readonly curve: readonly CurveEstimate[];
  /** The score that the paper reports for this variant and data, where it does. */
  readonly paperScore?: number;
}

export interface CurveEstimate {
  readonly step: number;
  readonly mean: number;
  readonly lowest: number;
  readonly highest: number;
}

export interface Comparison {
  readonly variant: string;
  readonly other: string;
  /** Whether both keep as many bytes of K and V. */
  readonly sameKvBytes: boolean;
  /** variant − other, of the measure's metric. */
  readonly difference: Estimate;
  /** Two-sided, of the bootstrap. */
  readonly pValue: number;
  /** Corrected for the number of all comparisons of this measure (Holm, 1979). */
  readonly adjustedPValue: number;
  /**
   * Of a variant and its baseline: corrected for the number of these comparisons, the ones that the
   * experiment is made for.
   */
  readonly plannedPValue?: number;
}

/**
 * How far one variant's learned weights moved from where they started, as in the paper's Figure 2:
 * per module and layer, and over all of them (`layer` undefined).
 */
export interface WeightMovement {
  readonly variant: string;
  readonly module?: MergeWeightGroup['module'];
  readonly projection?: 'k' | 'v';
  readonly layer?: number;
  /** Weights, over all seeds. */
  readonly count: number;
  readonly initial: number;
  readonly mean: number;
  /** Mean of |weight − initial|. */
  readonly meanAbsoluteDifference: number;
  /** What decay alone, without a gradient, would have left of the initial weight. */
  readonly decayedInitial: number;
  /** One-sample two-sided t-test of the weights against `initial`, as in the paper. */
  readonly tStatistic: number;
  readonly pValue: number;
  /** The same against `decayedInitial`. */
  readonly decayedTStatistic: number;
  readonly decayedPValue: number;
  /** Where the weights lie. */
  readonly spread: {
    readonly lowest: number;
    readonly lowerQuartile: number;
    readonly median: number;
    readonly upperQuartile: number;
    readonly highest: number;
  };
  /** Twenty equal bins over [low, high] with their counts. */
  readonly histogram: {
    readonly low: number;
    readonly high: number;
    readonly counts: readonly number[];
  };
}

export interface Sample {
  readonly source: string;
  readonly reference: string;
  /** Of the first seed, in the order of the rows. */
  readonly outputs: readonly { readonly variant: string; readonly text: string }[];
}
