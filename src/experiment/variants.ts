/** What a plan's variants mean for the base model: their conversion, and what they are compared with. */
import { resolveConvertOptions, type ResolvedConversion } from '../convert/index.ts';
import type { ConvertOptions, KvHeads, Model, ModelConfig } from '../index.ts';
import type { BudgetedHeads, BudgetInputs } from './budgets.ts';
import { calibrationText } from './data.ts';
import type { VariantPlan } from './plan.ts';

/** @throws WgqaError INVALID_ARGUMENT */
export function resolveVariant(
  { conversion, budget }: VariantPlan,
  config: ModelConfig,
): ResolvedConversion {
  const options = { ...conversion, ...(budget && { kvHeads: oneHeadByLayer(config) }) };
  return resolveConvertOptions({ ...options, calibration: [] }, config);
}

/** Stands for heads that a budget has yet to choose. */
function oneHeadByLayer({ num_decoder_layers: layers }: ModelConfig): KvHeads {
  const ones = Array.from({ length: layers }, () => 1);
  return { 'decoder.self': ones, 'decoder.cross': ones };
}

/** Whether the variant's conversion looks at text. */
export function isCalibrated({ conversion, budget }: VariantPlan): boolean {
  const { init, grouping, alignment } = conversion;
  return (
    budget !== undefined ||
    init === 'least-squares' ||
    grouping === 'similarity' ||
    alignment === 'orthogonal'
  );
}

export interface ConversionInputs extends BudgetInputs {
  readonly seed: number;
  readonly budgets: BudgetedHeads;
}

/** The base model converted as the variant says. @throws WgqaError as convert and allocateKvHeads do */
export async function convertVariant(inputs: ConversionInputs): Promise<Model> {
  const { baseModel, variant, seed, signal, budgets, data, dataset, evaluation } = inputs;
  const abort = signal ? { signal } : {};
  const options: ConvertOptions = { ...variant.conversion, seed };
  if (!isCalibrated(variant)) return baseModel.convert(options, abort);
  const calibration = [...calibrationText(data, dataset, evaluation).batches(0)];
  const { budget } = variant;
  const kvHeads = budget && (await budgets.choose(budget, inputs));
  return baseModel.convert({ ...options, ...(kvHeads && { kvHeads }), calibration }, abort);
}

/** What is said of a variant when its counterpart is looked for. */
export interface Candidate {
  readonly name: string;
  /** Of K and V, per token. */
  readonly kvBytes: number;
  readonly isTrained: boolean;
  readonly isMeanPooled: boolean;
}

/** GQA and MQA as they are known: neighbouring heads pooled to their mean, if trained then on labels. */
export function isMeanPooled(
  { trainable, distillation, budget }: VariantPlan,
  { kvHeads, merge, grouping, alignment, expansion }: ResolvedConversion,
  heads: number,
): boolean {
  const isPlainTraining = trainable === 'all' && distillation === undefined;
  const isPlainMerge =
    merge === 'mean' && grouping === 'neighbouring' && alignment === 'none' && !expansion;
  return isPlainTraining && isPlainMerge && budget === undefined && kvHeads !== heads;
}

/**
 * The mean-pooled variant that another is measured by, trained if that is: with as many bytes of K
 * and V, or else the next larger, so that no variant is ahead for keeping more.
 */
export function baselineOf(
  { kvBytes, isTrained, isMeanPooled: isBaseline }: Candidate,
  candidates: readonly Candidate[],
): string | undefined {
  if (isBaseline) return undefined;
  const larger = candidates.filter(
    (other) => other.isMeanPooled && other.isTrained === isTrained && other.kvBytes >= kvBytes,
  );
  larger.sort((a, b) => a.kvBytes - b.kvBytes);
  return larger[0]?.name;
}
