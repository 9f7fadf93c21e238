import { checkOptions, type Rules } from '../options.ts';
import { BATCHING_RULES, createDataset, type BatchingOptions } from './batching.ts';
import { heapCapacity } from './capacity.ts';
import type { Dataset } from './dataset.ts';
import { READ_PAIRS_RULES, readPairs, type ReadPairsOptions } from './pairs.ts';
import {
  TOKENIZE_RULES,
  tokenizePairs,
  type TokenEncoder,
  type TokenizeOptions,
} from './tokenize.ts';

export { createDataset, type BatchingOptions } from './batching.ts';
export type { Batch, Dataset, Example } from './dataset.ts';
export {
  PAIR_FORMATS,
  readPairs,
  type PairFormat,
  type ReadPairsOptions,
  type TextPair,
} from './pairs.ts';
export { tokenizePairs, type TokenEncoder, type TokenizeOptions } from './tokenize.ts';

export interface LoadDatasetOptions extends ReadPairsOptions, TokenizeOptions, BatchingOptions {}

/**
 * A file of text pairs as a data set: {@link readPairs}, {@link tokenizePairs} and
 * {@link createDataset} in one, with the options and errors of all three.
 */
export async function loadDataset(
  path: string,
  tokenizer: TokenEncoder,
  options: LoadDatasetOptions,
): Promise<Dataset> {
  checkOptions(options, { ...READ_PAIRS_RULES, ...TOKENIZE_RULES, ...BATCHING_RULES });
  const pairs = readPairs(path, { maxPairs: heapCapacity(), ...pick(options, READ_PAIRS_RULES) });
  const examples = await tokenizePairs(pairs, tokenizer, pick(options, TOKENIZE_RULES));
  return createDataset(examples, pick(options, BATCHING_RULES));
}

function pick(options: object, rules: Rules): object {
  return Object.fromEntries(Object.entries(options).filter(([name]) => Object.hasOwn(rules, name)));
}
