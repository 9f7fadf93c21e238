/** The loss of a model over a whole dataset. */
import type { Dataset } from '../data/index.ts';
import { invalidArgument } from '../errors.ts';
import { abortable, implementationOf, type Model } from '../model/index.ts';
import { checkOptions, isRecord, signalRule } from '../options.ts';
import { toMicroBatches } from './micro-batches.ts';
import type { EvaluationLoss } from './types.ts';

/**
 * Mean loss per counted label, without dropout, in the order of epoch 0.
 * @throws WgqaError INVALID_ARGUMENT, DISPOSED, ABORTED
 */
export async function evaluateLoss(
  model: Model,
  dataset: Dataset,
  options: { readonly signal?: AbortSignal } = {},
): Promise<EvaluationLoss> {
  const { native, config } = implementationOf(model);
  const { signal } = checkOptions(options, { signal: signalRule });
  checkDataset(dataset, 'dataset');
  let sum = 0;
  let tokens = 0;
  for (const batch of dataset.batches(0)) {
    for (const rows of toMicroBatches(batch, 1, config)) {
      const want = { logits: false, encoderStates: false };
      const result = await abortable(signal, (abort) => native.forward(rows, want, abort));
      sum += result.lossSum ?? 0;
      tokens += result.lossTokens ?? 0;
    }
  }
  const loss = sum / tokens;
  return { loss, perplexity: Math.exp(loss), tokens };
}

/** @throws WgqaError INVALID_ARGUMENT unless `dataset` is one and not empty */
export function checkDataset(dataset: unknown, field: string): asserts dataset is Dataset {
  if (!isRecord(dataset) || typeof dataset['batches'] !== 'function') {
    throw invalidArgument(field, 'a Dataset', dataset);
  }
  if (dataset['length'] === 0) throw invalidArgument(field, 'a dataset with examples', 'empty');
}
