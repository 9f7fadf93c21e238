import { invalidArgument, WgqaError } from '../errors.ts';
import {
  booleanRule,
  checkOptions,
  checkValue,
  integerIn,
  isRecord,
  type Rules,
} from '../options.ts';
import type { Batch, Dataset, Example } from './dataset.ts';
import { CounterRandom } from './random.ts';

export interface BatchingOptions {
  /** Most examples in a batch. At least one of `batchSize` and `maxTokens` must be given. */
  readonly batchSize?: number;
  /** Most tokens in a batch, sources and targets together. */
  readonly maxTokens?: number;
  /** Whether each epoch has its own random order (default), or the given order as it is. */
  readonly shuffle?: boolean;
  /** Seed of the order, an integer from 0. Default 0. */
  readonly seed?: number;
}

export const BATCHING_RULES = {
  batchSize: integerIn(1),
  maxTokens: integerIn(1),
  shuffle: booleanRule,
  seed: integerIn(0),
} satisfies Rules;

/** Infinity where there is no limit. */
type Limits = Required<Pick<BatchingOptions, 'batchSize' | 'maxTokens'>>;

// Batches whose examples are sorted by length together: enough that lengths in a batch are alike,
// few enough that an epoch's batches mix differently from the last epoch's.
const BATCHES_PER_BUCKET = 64;

/**
 * Examples as batches of similar source length. Shuffled epochs are cut into buckets, each bucket is
 * sorted by length and cut into batches, and the batches are put in random order; all of it depends
 * on the seed and the epoch only.
 *
 * @throws WgqaError `INVALID_ARGUMENT` for options out of range, no examples, an example without
 *   tokens, or one that is longer than `maxTokens`.
 */
export function createDataset(examples: readonly Example[], options: BatchingOptions): Dataset {
  const checked = checkOptions(options, BATCHING_RULES);
  const { batchSize = Infinity, maxTokens = Infinity, shuffle = true, seed = 0 } = checked;
  if (batchSize === Infinity && maxTokens === Infinity) {
    throw invalidArgument('batchSize', 'given where maxTokens is not', undefined);
  }
  const limits = { batchSize, maxTokens };
  checkExamples(examples, limits.maxTokens);
  let cached: { epoch: number; plan: Int32Array[] } | undefined;
  const planOf = (epoch: number) => {
    checkValue(epoch, integerIn(0), 'epoch');
    if (cached?.epoch !== epoch) {
      const plan = shuffle
        ? planShuffled(examples, limits, new CounterRandom(seed, epoch))
        : cut(Int32Array.from(examples.keys()), examples, limits);
      cached = { epoch, plan };
    }
    return cached.plan;
  };
  return {
    length: examples.length,
    batchCount: (epoch) => planOf(epoch).length,
    batches(epoch, start = 0) {
      checkValue(start, integerIn(0), 'start');
      return gather(examples, planOf(epoch), start);
    },
  };
}

/** The batches of one epoch as lists of example indices, in training order. */
function planShuffled(
  examples: readonly Example[],
  limits: Limits,
  random: CounterRandom,
): Int32Array[] {
  const order = random.shuffle(Int32Array.from(examples.keys()));
  const bucketSize = BATCHES_PER_BUCKET * typicalBatchSize(examples, limits);
  const batches: Int32Array[] = [];
  for (let start = 0; start < order.length; start += bucketSize) {
    // Sorting is stable, so equal lengths stay in random order.
    const bucket = order
      .slice(start, start + bucketSize)
      .sort((a, b) => sourceLength(examples, a) - sourceLength(examples, b));
    batches.push(...cut(bucket, examples, limits));
  }
  return random.shuffle(batches);
}

/** Cuts a list of examples into batches, as many examples in each as the limits allow. */
function cut(indices: Int32Array, examples: readonly Example[], limits: Limits): Int32Array[] {
  const batches: Int32Array[] = [];
  let start = 0;
  let tokens = 0;
  indices.forEach((index, position) => {
    const size = tokenCount(examples[index]);
    if (position - start === limits.batchSize || tokens + size > limits.maxTokens) {
      batches.push(indices.subarray(start, position));
      start = position;
      tokens = 0;
    }
    tokens += size;
  });
  batches.push(indices.subarray(start));
  return batches;
}

function* gather(
  examples: readonly Example[],
  plan: readonly Int32Array[],
  start: number,
): Generator<Batch> {
  for (const indices of plan.slice(start)) {
    const rows = [...indices].flatMap((index) => examples[index] ?? []);
    yield {
      inputIds: rows.map((example) => example.inputIds),
      labels: rows.map((example) => example.labels),
    };
  }
}

function typicalBatchSize(examples: readonly Example[], limits: Limits): number {
  if (limits.maxTokens === Infinity) return limits.batchSize;
  const tokens = examples.reduce((sum, example) => sum + tokenCount(example), 0);
  const byTokens = Math.ceil((limits.maxTokens * examples.length) / tokens);
  return Math.min(limits.batchSize, byTokens);
}

function tokenCount(example: Example | undefined): number {
  return example ? example.inputIds.length + example.labels.length : 0;
}

function sourceLength(examples: readonly Example[], index: number): number {
  return examples[index]?.inputIds.length ?? 0;
}

function checkExamples(given: unknown, maxTokens: number): void {
  if (!Array.isArray(given) || given.length === 0) {
    throw invalidArgument('examples', 'an array of at least one example', given);
  }
  // Not with forEach(), which passes over the holes of a sparse array.
  for (let index = 0; index < given.length; index += 1) {
    const field = `examples[${index}]`;
    const example = checkExample(given[index], field);
    if (example.inputIds.length === 0 || example.labels.length === 0) {
      throw new WgqaError('INVALID_ARGUMENT', `${field} has no tokens`, {
        field,
        allowed: 'at least one source and one target token',
      });
    }
    if (tokenCount(example) > maxTokens) {
      const message = `${field} has ${tokenCount(example)} tokens`;
      const allowed = `at most maxTokens = ${maxTokens}`;
      throw new WgqaError('INVALID_ARGUMENT', message, { field, allowed });
    }
  }
}

/** Rows of token ids; a model checks the ids when it is given them. */
function checkExample(example: unknown, field: string): Example {
  if (!isRecord(example)) throw invalidArgument(field, 'an example', example);
  for (const key of ['inputIds', 'labels']) {
    const row = example[key];
    if (row instanceof Int32Array || Array.isArray(row)) continue;
    throw invalidArgument(`${field}.${key}`, 'an Int32Array', row);
  }
  return example as unknown as Example;
}
