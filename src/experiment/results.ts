/**
 * What an experiment measured. A run is one variant trained with one seed on one data set; its
 * folder holds `result.json` (a RunResult), `outputs.jsonl` (a RunOutput a line, in the order of the
 * test pairs) and `curve.jsonl`. The report is made of these files alone.
 */
import type { KvHeadsByLayer } from '../checkpoint/grouping.ts';
import type { ExampleLoss } from '../index.ts';
import type { MergeWeightGroup } from '../report/index.ts';

/**
 * What comparisons can be of, higher is better: metrics of the test pairs' texts, 0..100, and the
 * mean log-likelihood of a target token in nats, the negative of the loss.
 */
export const METRICS = [
  'rouge1',
  'rouge2',
  'rougeL',
  'rougeLsum',
  'bleu',
  'logLikelihood',
] as const;
export type Metric = (typeof METRICS)[number];

/** Which run this is. */
export interface RunKey {
  readonly dataset: string;
  readonly variant: string;
  readonly seed: number;
}

export interface CurvePoint {
  /** Optimiser steps taken. */
  readonly step: number;
  /** Mean loss per target token on the validation pairs, in nats. */
  readonly loss: number;
}

/** Of the whole test set. */
export interface TestScores {
  /** Mean loss per target token, in nats. */
  readonly loss: number;
  /** Mean F-measures times 100. */
  readonly rouge1: number;
  readonly rouge2: number;
  readonly rougeL: number;
  readonly rougeLsum: number;
  /** Corpus BLEU as sacreBLEU computes it. */
  readonly bleu: number;
  /** Mean over batches of the BLEU of each, unsmoothed, as the paper's code computes it. */
  readonly batchBleu: number;
}

export interface RunResult extends RunKey {
  /** SHA-256 of what the run depends on: base model, data, and all of its options. */
  readonly identity: string;
  /** Optimiser steps; 0: evaluated as converted. */
  readonly steps: number;
  /** Query heads, and the mean K/V heads of the decoder's layers. */
  readonly heads: number;
  readonly kvHeads: number;
  /** Where they differ by layer. */
  readonly kvHeadsByLayer?: KvHeadsByLayer;
  /** Parameters after folding. */
  readonly parameters: number;
  /** Parameters that the optimiser moved, merge weights included. */
  readonly trainedParameters: number;
  readonly mergeParameters: number;
  /** Bytes of K and V per token, over all decoder layers, in the cache that decoded. */
  readonly kvBytesPerToken: { readonly selfAttention: number; readonly crossAttention: number };
  readonly trainMilliseconds: number;
  readonly trainTokensPerSecond: number;
  readonly generateMilliseconds: number;
  readonly generatedTokens: number;
  /** Validation loss, at step 0 (as converted), at the plan's steps and at the end. */
  readonly curve: readonly CurvePoint[];
  readonly scores: TestScores;
  /** Learned merge weights; empty where there are none. */
  readonly mergeWeights: readonly MergeWeightGroup[];
}

/** Of one test pair. */
export interface RunOutput extends ExampleLoss {
  readonly target: string;
  readonly output: string;
}

/** A run with what it wrote. */
export interface FinishedRun {
  readonly result: RunResult;
  readonly outputs: readonly RunOutput[];
}
