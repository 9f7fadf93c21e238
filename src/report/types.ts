/**
 * What one comparison of attention variants measured: the input of every renderer in this folder
 * (HTML page, Markdown table, terminal table). Plain data, so it can be written to and read back
 * from JSON. All arrays keep their order; renderers compare every variant with `baseline`.
 */
export interface DemoReport {
  readonly title: string;
  /** ISO 8601 time, UTC. */
  readonly createdAt: string;
  readonly settings: RunSettings;
  /** `preset` of the variant the others are compared with, normally `'MHA'`. */
  readonly baseline: string;
  readonly variants: readonly VariantResult[];
  readonly samples: readonly SampleSummary[];
}

/** How the figures were obtained. Facts of the method and the inputs, nothing that names a host. */
export interface RunSettings {
  /** The command that reproduces the run. */
  readonly command: string;
  /** Version of this package. */
  readonly version: string;
  /** Name of the checkpoint every variant starts from. */
  readonly checkpoint: string;
  /** Shape of the model, in words ("4+4 layers, 8 heads of 32, d_model 256, vocabulary 8,192"). */
  readonly architecture: string;
  readonly dataset: string;
  readonly trainExamples: number;
  readonly evalExamples: number;
  /** Fine-tuning steps, the same for each variant. */
  readonly steps: number;
  /** Examples per optimiser step. */
  readonly batchSize: number;
  readonly optimizer: string;
  readonly learningRate: number;
  readonly seed: number;
  /** Precision of training, e.g. `'float32'`. */
  readonly trainPrecision: string;
  /** Precision of generation, e.g. `'bfloat16'`. */
  readonly decodePrecision: string;
  /** Generation options, in words ("greedy, at most 32 new tokens"). */
  readonly decoding: string;
  /** `'cpu'` or `'cuda'`. */
  readonly device: string;
  readonly threads: number;
  /** Further facts, shown after the ones above. */
  readonly notes?: readonly string[];
}

/** Where merge weights start. */
export type InitialWeight = number | 'random' | 'least-squares';

export interface VariantResult {
  /** Name of the paper's Table 1, e.g. `'WGQA'`; unique within a report. */
  readonly preset: string;
  /** Query heads per attention module. */
  readonly heads: number;
  /** K/V heads per converted module; equals `heads` for MHA. */
  readonly kvHeads: number;
  /** Parameters after folding: what is deployed. */
  readonly parameters: number;
  /** Merge weights trained beside the model's own parameters; 0 for MHA, GQA and MQA. */
  readonly mergeParameters: number;
  readonly curve: readonly CurvePoint[];
  readonly evaluation: EvaluationResult;
  /** Bytes of K and V kept for one token, over all decoder layers, at the decoding precision. */
  readonly kvBytesPerToken: KvBytesPerToken;
  /** Generated tokens per second of wall time while decoding the evaluation set. */
  readonly tokensPerSecond: number;
  /** Wall time of fine-tuning. */
  readonly trainMilliseconds?: number;
  /** Learned merge weights, one entry per module and projection; absent where there are none. */
  readonly mergeWeights?: readonly MergeWeightGroup[];
}

export interface CurvePoint {
  /** Optimiser steps taken, from 1. */
  readonly step: number;
  /** Mean training loss per target token, in nats. */
  readonly loss: number;
  /** Loss on held-out pairs, where it was evaluated at this step. */
  readonly evalLoss?: number;
}

/** Corpus results on held-out pairs; ROUGE is the mean F-measure in 0..1, shown times 100. */
export interface EvaluationResult {
  /** Mean loss per target token, in nats. */
  readonly loss: number;
  readonly rouge1: number;
  readonly rouge2: number;
  readonly rougeL: number;
}

export interface KvBytesPerToken {
  /** Per generated token. */
  readonly selfAttention: number;
  /** Per source token, cached once per source. */
  readonly crossAttention: number;
}

/** The merge weights of one K or V projection. */
export interface MergeWeightGroup {
  /** Decoder (or encoder) layer, from 0. */
  readonly layer: number;
  readonly module: 'encoderSelf' | 'decoderSelf' | 'decoderCross';
  readonly projection: 'k' | 'v';
  readonly granularity: 'head' | 'column' | 'row';
  /** The one starting value of every weight, or how it was chosen (random: standard normal). */
  readonly initial: InitialWeight;
  /** The learned values. */
  readonly values: readonly number[];
}

export interface SampleSummary {
  readonly source: string;
  /** What a person wrote. */
  readonly reference: string;
  /** What each variant generated, in the order of `DemoReport.variants`. */
  readonly outputs: readonly SampleOutput[];
}

export interface SampleOutput {
  readonly preset: string;
  readonly text: string;
}
