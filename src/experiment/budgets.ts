/** K/V heads by layer for variants that have a budget. */
import { allocateKvHeads, type KvHeads, type Model } from '../index.ts';
import { calibrationText, type ExperimentData } from './data.ts';
import type { DatasetPlan, EvaluationPlan, VariantPlan } from './plan.ts';

export interface BudgetInputs {
  readonly baseModel: Model;
  readonly variant: VariantPlan;
  readonly data: ExperimentData;
  readonly dataset: DatasetPlan;
  readonly evaluation: EvaluationPlan;
  readonly signal: AbortSignal | undefined;
  /** Called after each evaluation. */
  readonly onAllocation: (done: number, total: number) => void;
}

/** Heads that were chosen once: a seed changes nothing of them, and a choice takes minutes. */
export class BudgetedHeads {
  readonly #chosen = new Map<string, KvHeads>();

  /** @throws WgqaError as allocateKvHeads does */
  async choose(budget: NonNullable<VariantPlan['budget']>, inputs: BudgetInputs): Promise<KvHeads> {
    const key = JSON.stringify([inputs.dataset.name, inputs.variant.name]);
    const kvHeads = this.#chosen.get(key) ?? (await allocate(budget, inputs));
    this.#chosen.set(key, kvHeads);
    return kvHeads;
  }
}

async function allocate(
  budget: NonNullable<VariantPlan['budget']>,
  { baseModel, variant, data, dataset, evaluation, signal, onAllocation }: BudgetInputs,
): Promise<KvHeads> {
  const { alignment } = variant.conversion;
  const { kvHeads } = await allocateKvHeads(baseModel, {
    ...budget,
    ...(alignment && { alignment }),
    calibration: calibrationText(data, dataset, evaluation),
    onProgress: onAllocation,
    ...(signal && { signal }),
  });
  return kvHeads;
}
