/** Two ways to fine-tune: as the paper's authors did, and as one should. */
import type { TrainerOptions } from './types.ts';

const ADAMW = Object.freeze({
  type: 'adamw',
  learningRate: 1e-3,
  beta1: 0.9,
  beta2: 0.999,
  epsilon: 1e-8,
  weightDecay: 0.01,
} as const);

/**
 * `paper` follows the code of arXiv 2407.10855. Its weight decay also draws merge weights towards
 * zero, which alone moves them from their starting value; `sound` leaves them out of it.
 */
export const TRAINER_PRESETS = Object.freeze({
  paper: Object.freeze({
    optimizer: ADAMW,
    schedule: Object.freeze({ type: 'linear', warmupSteps: 0 }),
    maxGradNorm: 0,
    decayMergeWeights: true,
  }),
  sound: Object.freeze({
    optimizer: ADAMW,
    schedule: Object.freeze({ type: 'linear', warmupRatio: 0.05 }),
    maxGradNorm: 1,
    decayMergeWeights: false,
  }),
} satisfies Record<string, TrainerOptions>);
