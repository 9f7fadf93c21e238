/** The text pairs of one data set, as a plan cuts them. */
import { createHash } from 'node:crypto';
import { hashExamples } from '../data/hash.ts';
import {
  createDataset,
  readPairs,
  tokenizePairs,
  WgqaError,
  type Dataset,
  type Example,
  type TextPair,
  type Tokenizer,
} from '../index.ts';
import type { DatasetPlan, EvaluationPlan, Settings } from './plan.ts';

export interface ExperimentData {
  readonly train: readonly Example[];
  readonly validation: readonly Example[];
  readonly test: readonly Example[];
  /** The test pairs as text, in the same order. */
  readonly testPairs: readonly TextPair[];
  /** SHA-256 of all tokens and of the test's text. */
  readonly identity: string;
}

/** @throws WgqaError NOT_FOUND, IO, INVALID_FILE, INVALID_ARGUMENT, ABORTED */
export async function loadData(
  plan: DatasetPlan,
  tokenizer: Tokenizer,
  signal: AbortSignal | undefined,
): Promise<ExperimentData> {
  const { maxSourceTokens, maxTargetTokens } = plan;
  const limits = { maxSourceTokens, maxTargetTokens, ...(signal && { signal }) };
  const encode = async (split: 'train' | 'validation' | 'test', limit: number) => {
    const pairs = await takePairs(plan, split, limit);
    return { pairs, examples: await tokenizePairs(pairs, tokenizer, limits) };
  };
  const train = await encode('train', plan.trainPairs);
  const validation = await encode('validation', plan.validationPairs);
  const test = await encode('test', plan.testPairs);
  const identity = createHash('sha256');
  for (const { examples } of [train, validation, test]) identity.update(hashExamples(examples));
  identity.update(JSON.stringify(test.pairs));
  return {
    train: train.examples,
    validation: validation.examples,
    test: test.examples,
    testPairs: test.pairs,
    identity: identity.digest('hex'),
  };
}

async function takePairs(
  plan: DatasetPlan,
  split: 'train' | 'validation' | 'test',
  limit: number,
): Promise<TextPair[]> {
  const pairs: TextPair[] = [];
  for (const file of plan[split]) {
    for await (const pair of readPairs(file, plan.reading)) {
      pairs.push(pair);
      if (pairs.length >= limit) return pairs;
    }
  }
  if (pairs.length > 0) return pairs;
  const field = `datasets.${plan.name}.${split}`;
  throw new WgqaError('INVALID_FILE', `${field}: the files hold no text pairs`, { field });
}

/** Training batches: a pure function of the seed, in every variant the same. */
export function trainingBatches(
  { train }: ExperimentData,
  { batchSize }: DatasetPlan,
  { seed, settings }: { readonly seed: number; readonly settings: Settings },
): Dataset {
  const dataset = createDataset(train, { batchSize, seed });
  return settings === 'paper' ? repeatFirstEpoch(dataset) : dataset;
}

// The authors never tell their sampler of a new epoch.
function repeatFirstEpoch(dataset: Dataset): Dataset {
  return {
    length: dataset.length,
    batchCount: () => dataset.batchCount(0),
    batches: (_epoch, start) => dataset.batches(0, start),
  };
}

/** Batches for a loss, which does not depend on their order. */
export function evaluationBatches(
  examples: readonly Example[],
  { batchSize }: EvaluationPlan,
): Dataset {
  return createDataset(examples, { batchSize });
}

/** The test pairs in their order. */
export function testBatches(test: readonly Example[], { batchSize }: EvaluationPlan): Dataset {
  return createDataset(test, { batchSize, shuffle: false });
}

/** What conversions look at: the first training pairs. */
export function calibrationText(
  { train }: ExperimentData,
  { calibrationPairs }: DatasetPlan,
  evaluation: EvaluationPlan,
): Dataset {
  return evaluationBatches(train.slice(0, calibrationPairs), evaluation);
}
