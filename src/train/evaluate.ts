/** The loss of a model over a whole dataset. */
import type { Dataset } from '../data/index.ts';
import { invalidArgument, type WgqaError } from '../errors.ts';
import {
  abortable,
  countLabels,
  implementationOf,
  toNativeBatch,
  type Model,
} from '../model/index.ts';
import { checkOptions, isRecord, signalRule } from '../options.ts';
import { toRows } from './micro-batches.ts';
import type { EvaluationLoss, ExampleLoss } from './types.ts';

/**
 * Mean loss per counted label, without dropout, in the order of epoch 0.
 * @throws WgqaError INVALID_ARGUMENT, DISPOSED, ABORTED
 */
export async function evaluateLoss(
  model: Model,
  dataset: Dataset,
  options: { readonly signal?: AbortSignal } = {},
): Promise<EvaluationLoss> {
  const examples = await evaluateExamples(model, dataset, options);
  const loss = meanLoss(examples);
  const tokens = examples.reduce((sum, example) => sum + example.tokens, 0);
  return { loss, perplexity: Math.exp(loss), tokens };
}

/** Per counted label of all examples, in nats. */
export function meanLoss(examples: readonly ExampleLoss[]): number {
  let lossSum = 0;
  let tokens = 0;
  for (const example of examples) {
    lossSum += example.lossSum;
    tokens += example.tokens;
  }
  return lossSum / tokens;
}

/**
 * The loss of each example by itself, without dropout: in the order of epoch 0, which is that of the
 * examples in a dataset that does not shuffle.
 * @throws WgqaError INVALID_ARGUMENT, DISPOSED, ABORTED
 */
export async function evaluateExamples(
  model: Model,
  dataset: Dataset,
  options: { readonly signal?: AbortSignal } = {},
): Promise<ExampleLoss[]> {
  const { native, config } = implementationOf(model);
  const { signal } = checkOptions(options, { signal: signalRule });
  checkDataset(dataset, 'dataset');
  const examples: ExampleLoss[] = [];
  for (const batch of dataset.batches(0)) {
    const rows = toRows(batch, config);
    const want = { logits: false, encoderStates: false };
    const { lossSums = [] } = await abortable(signal, (abort) =>
      native.forward(toNativeBatch(rows), want, abort),
    );
    rows.forEach((row, i) => {
      examples.push({ lossSum: lossSums[i] ?? NaN, tokens: countLabels(row) });
    });
  }
  if (examples.length === 0) throw withoutBatches('dataset');
  return examples;
}

/** The error of a dataset that says it has examples, and gives none. */
export function withoutBatches(field: string): WgqaError {
  return invalidArgument(field, 'a dataset with batches in each epoch', 'one without');
}

/** @throws WgqaError INVALID_ARGUMENT unless `dataset` is one and not empty */
export function checkDataset(dataset: unknown, field: string): asserts dataset is Dataset {
  if (!isRecord(dataset) || typeof dataset['batches'] !== 'function') {
    throw invalidArgument(field, 'a Dataset', dataset);
  }
  if (dataset['length'] === 0) throw invalidArgument(field, 'a dataset with examples', 'empty');
}
