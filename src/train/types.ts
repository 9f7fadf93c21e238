/** The public types of training. */
import type { Dataset } from '../data/index.ts';
import type { LoadModelOptions, Model, TokenRows } from '../model/types.ts';

/** A batch as tensors or rows; a ragged `Batch` of a `Dataset` is one. */
export interface TrainingBatch {
  /** Source token ids. */
  readonly inputIds: TokenRows;
  /** 1 for tokens, 0 for padding; default: every token counts. */
  readonly attentionMask?: TokenRows;
  /** Target token ids; -100 is ignored. */
  readonly labels: TokenRows;
  /** Default: `labels` shifted right behind the decoder start token. */
  readonly decoderInputIds?: TokenRows;
}

/** AdamW as in PyTorch (decoupled weight decay). */
export interface AdamWOptions {
  readonly type: 'adamw';
  readonly learningRate: number;
  /** Default 0.9. */
  readonly beta1?: number;
  /** Default 0.999. */
  readonly beta2?: number;
  /** Both betas at once. */
  readonly betas?: readonly [number, number];
  /** Default 1e-8. */
  readonly epsilon?: number;
  /** Default 0.01. */
  readonly weightDecay?: number;
}

/** Adafactor (arXiv 1804.04235) without its own schedule, as T5 is usually fine-tuned. */
export interface AdafactorOptions {
  readonly type: 'adafactor';
  readonly learningRate: number;
  /** Exponent of the running averages' decay, 1 - step^decayRate. Default -0.8. */
  readonly decayRate?: number;
  /** Added to squared gradients. Default 1e-30. */
  readonly gradEpsilon?: number;
  /** Least parameter scale under `scaleParameter`. Default 1e-3. */
  readonly parameterEpsilon?: number;
  /** Largest root mean square of an update. Default 1. */
  readonly clipThreshold?: number;
  /** Multiply the learning rate by the root mean square of the parameter. Default false. */
  readonly scaleParameter?: boolean;
  /** Default 0. */
  readonly weightDecay?: number;
}

export interface ScheduleOptions {
  /** 'linear' falls to 0 at `totalSteps`; 'constant' stays. Both rise linearly during warm-up. */
  readonly type: 'linear' | 'constant';
  /** Default 0. */
  readonly warmupSteps?: number;
  /** Warm-up as a part of `totalSteps`, instead of `warmupSteps`. */
  readonly warmupRatio?: number;
  /** Optimiser steps of the whole training; `fit` fills it in. */
  readonly totalSteps?: number;
}

/** Knowledge distillation (Hinton et al. 2015, arXiv 1503.02531, Section 2). */
export interface DistillationOptions {
  /**
   * The model to learn from, most often the multi-head model that the trained one was converted
   * from: another model of the same vocabulary and device. It computes in its own `dtype` and
   * without dropout, and may serve engines meanwhile. Disposing it disposes the trainer first.
   */
  readonly teacher: Model;
  /** Of the teacher's probabilities beside the labels, from 0 (labels alone) to 1. Default 0.5. */
  readonly weight?: number;
  /** What both models' logits are divided by before the softmax. Default 2. */
  readonly temperature?: number;
}

export interface TrainerOptions {
  /**
   * 'paper': AdamW at 1e-3 with weight decay 0.01 on everything, linear decay without warm-up, no
   * clipping, as the authors of arXiv 2407.10855 trained. 'sound': the same without decay of merge
   * weights, with 5 % warm-up and clipping at 1. Other options override the preset's.
   */
  readonly preset?: 'paper' | 'sound';
  /** Required unless `preset` is given. */
  readonly optimizer?: AdamWOptions | AdafactorOptions;
  /** Default: constant. */
  readonly schedule?: ScheduleOptions;
  /** Clip the global norm of the gradient to this; 0 (default): no clipping. */
  readonly maxGradNorm?: number;
  /** Cut each batch into this many micro-batches of whole rows. Default 1. */
  readonly accumulate?: number;
  /** 'all' (default) or the merge weights alone. */
  readonly trainable?: 'all' | 'merge';
  /** Dropout rate; default: `dropout_rate` of the model's configuration. */
  readonly dropout?: number;
  /** Apply weight decay to merge weights too. Default true. */
  readonly decayMergeWeights?: boolean;
  /** Seed of dropout. Default 0. */
  readonly seed?: number;
  /**
   * 'bfloat16': mixed precision. Dense products read operands rounded to bfloat16 and sum in
   * float32; weights, gradients, optimiser state, norms, attention and loss stay float32. A machine
   * without bfloat16 products refuses it with UNSUPPORTED at the first step. Default 'float32'.
   */
  readonly computeDtype?: 'float32' | 'bfloat16';
  /**
   * Keep only the input of each block and run the block again before its backward pass (arXiv
   * 1604.06174): the same gradients, bit for bit, in far less memory (`StepResult.scratchBytes`)
   * and about a quarter more time. For long sequences. Default false.
   */
  readonly activationCheckpointing?: boolean;
  /**
   * Learn from a teacher beside the labels: with its weight w and the temperature T, of each label
   * that counts, (1 - w) * cross-entropy + w * T^2 * KL(teacher || model), both softmaxes at T.
   */
  readonly distillation?: DistillationOptions;
}

export interface ResumeOptions extends LoadModelOptions {
  /** What taught the run: required if the saved trainer was distilling, else absent. */
  readonly teacher?: Model;
}

export interface StepResult {
  /** Mean cross-entropy per counted label, in nats, before the update. */
  readonly loss: number;
  /** Mean of T^2 * KL(teacher || model) per counted label, in nats; present iff distilling. */
  readonly distillationLoss?: number;
  /** Global norm of the gradient before clipping. */
  readonly gradNorm: number;
  readonly learningRate: number;
  /** Encoder and decoder tokens processed. */
  readonly tokens: number;
  /** Duration, and the parts of it inside dense matrix products and attention. */
  readonly milliseconds: number;
  readonly denseMilliseconds: number;
  readonly attentionMilliseconds: number;
  /** Activations and other working memory of the largest micro-batch, at their peak. */
  readonly scratchBytes: number;
}

export interface EvaluationLoss {
  /** Mean cross-entropy per counted label, in nats. */
  readonly loss: number;
  /** exp(loss). */
  readonly perplexity: number;
  /** Counted labels. */
  readonly tokens: number;
}

/** Of one example. */
export interface ExampleLoss {
  /** Sum of the cross-entropy of its counted labels, in nats. */
  readonly lossSum: number;
  /** Counted labels. */
  readonly tokens: number;
}

/** One step of `fit`. */
export interface StepReport extends StepResult {
  /** Optimiser steps taken, from 1. */
  readonly step: number;
  readonly totalSteps: number;
  /** 0-based. */
  readonly epoch: number;
  readonly tokensPerSecond: number;
  /** Estimate from the steps of this call. */
  readonly millisecondsLeft: number;
}

export interface EvaluationReport extends EvaluationLoss {
  readonly step: number;
}

export interface FitOptions {
  /** Passes over the dataset. Give this or `steps`. */
  readonly epochs?: number;
  /** Optimiser steps of the whole training, those before a resume included. */
  readonly steps?: number;
  readonly evaluate?: { readonly dataset: Dataset; readonly everySteps: number };
  readonly checkpoint?: { readonly dir: string; readonly everySteps: number };
  /** One JSON object per line is appended for each step and each evaluation. */
  readonly metricsFile?: string;
  readonly onStep?: (report: StepReport) => void;
  readonly onEvaluate?: (report: EvaluationReport) => void;
  readonly signal?: AbortSignal;
}

export interface FitResult {
  /** Optimiser steps taken in total. */
  readonly step: number;
  /** Loss of the last step of this call; undefined if there was none to take. */
  readonly loss: number | undefined;
  /** Of the same step; present iff distilling. */
  readonly distillationLoss?: number;
}
