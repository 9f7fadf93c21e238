/** How far the learned merge weights of one variant moved (the paper's Figure 2). */
import { TRAINER_PRESETS } from '../index.ts';
import { learningRateAt } from '../train/schedule.ts';
import type { ExperimentPlan, VariantPlan } from './plan.ts';
import type { WeightMovement } from './report-types.ts';
import type { RunResult } from './results.ts';
import { measureMovement } from './statistics/weights.ts';

export function weightMovements(
  variant: VariantPlan,
  results: readonly RunResult[],
  plan: ExperimentPlan,
): WeightMovement[] {
  const steps = Math.max(0, ...results.map((result) => result.steps));
  return measureMovement(variant.name, results, decayOf(plan, steps));
}

/** What `steps` of weight decay alone leave of a merge weight, as a part of it. */
function decayOf({ settings, training }: ExperimentPlan, steps: number): number {
  const { optimizer, schedule, decayMergeWeights } = TRAINER_PRESETS[settings];
  if (!decayMergeWeights || training.optimizer !== 'adamw') return 1;
  let left = 1;
  for (let step = 0; step < steps; ++step) {
    const rate = learningRateAt(step, training.learningRate, { ...schedule, totalSteps: steps });
    left *= 1 - rate * optimizer.weightDecay;
  }
  return left;
}
