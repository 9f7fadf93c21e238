/** The attention variants and precisions that benchmarks go through. */
import type { ComputeDtype, Model } from '../index.ts';

/** Precisions of inference on the CPU, beside whose products of oneDNN they are measured. */
export const COMPUTE_DTYPES: readonly ComputeDtype[] = ['float32', 'bfloat16', 'int8'];

/** Precisions of training: its name, and the trainer's options for it. */
export const TRAINING_DTYPES = [
  { dtype: 'float32', options: { computeDtype: 'float32' } },
  { dtype: 'bfloat16', options: { computeDtype: 'bfloat16' } },
] as const;

/** Multi-head, grouped, and multi-query attention: the same as WGQA once that is folded. */
export function kvHeadsToCompare(heads: number): number[] {
  return [heads, heads / 2, heads / 4, 1].filter((kvHeads) => Number.isInteger(kvHeads));
}

export function variantName(heads: number, kvHeads: number): string {
  if (kvHeads === heads) return 'MHA';
  return kvHeads === 1 ? 'MQA' : `GQA-${String(kvHeads)}`;
}

/** The model itself for all its heads; otherwise one that the caller disposes of. */
export async function withKvHeads(model: Model, kvHeads: number): Promise<Model> {
  return kvHeads === model.config.num_heads ? model : model.convert({ kvHeads, merge: 'mean' });
}

/** Learned merge weights, multiplied in: what WGQA is in use. */
export async function foldedWgqa(model: Model, kvHeads: number): Promise<Model> {
  await using converted = await model.convert({ kvHeads, merge: 'weighted' });
  return await converted.fold();
}
