/** What a demo run does, with every choice made. */
import type { Device, PresetName } from '../index.ts';

export interface DemoOptions {
  /** Directory of the multi-head model every variant starts from, with its tokenizer. */
  readonly modelDirectory: string;
  /** Directory with train, validation and test.jsonl.gz and, if there is one, manifest.json. */
  readonly dataDirectory: string;
  readonly plan: DemoPlan;
  /** Command line for the report. */
  readonly command: string;
  /** Version of this package, for the report. */
  readonly version: string;
  /** Default 'auto'. */
  readonly device?: 'auto' | Device;
  /** Default: one per core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: DemoProgress) => void;
}

/** Sizes and hyperparameters, the same for every variant. */
export interface DemoPlan {
  /** The variants to fine-tune, in this order; the first is the baseline. */
  readonly presets: readonly PresetName[];
  /** K/V heads of the grouped variants; undefined: half the heads. Those of MQA have one. */
  readonly kvHeads?: number;
  /** Optimiser steps. */
  readonly steps: number;
  /** Pairs per step. */
  readonly batchSize: number;
  readonly learningRate: number;
  /** Held-out pairs for the final loss and for ROUGE, from test.jsonl.gz. */
  readonly testPairs: number;
  /** Held-out pairs for the learning curve, from validation.jsonl.gz, evaluated `curvePoints` times. */
  readonly validationPairs: number;
  readonly curvePoints: number;
  /** Summaries shown in the report. */
  readonly samples: number;
  readonly maxSourceTokens: number;
  readonly maxTargetTokens: number;
  readonly seed: number;
}

/** Sized for three minutes on two cores; see demo/README.md. */
export const DEFAULT_PLAN: DemoPlan = {
  presets: ['MHA', 'MQA', 'WMQA', 'GQA', 'WGQA', 'ROWWGQA', 'COLWGQA'],
  steps: 80,
  batchSize: 16,
  learningRate: 5e-4,
  testPairs: 240,
  validationPairs: 64,
  curvePoints: 4,
  samples: 4,
  maxSourceTokens: 96,
  maxTargetTokens: 32,
  seed: 0,
};

/** Enough to see every stage. */
export const QUICK_PLAN: DemoPlan = {
  ...DEFAULT_PLAN,
  steps: 8,
  testPairs: 32,
  validationPairs: 16,
  curvePoints: 2,
};

/** Steps between the evaluations of a learning curve; there is one after the last step too. */
export function evaluationInterval({ steps, curvePoints }: DemoPlan): number {
  return Math.max(1, Math.ceil(steps / curvePoints));
}

export interface DemoProgress {
  /** "WGQA: fine-tuning". */
  readonly stage: string;
  /** Work done, of `total`, in units of one pair going forward once. */
  readonly done: number;
  readonly total: number;
  /** Training loss, while there is one. */
  readonly loss?: number;
}
