/** The demo's text pairs, cut to what a plan needs. */
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import {
  createDataset,
  readPairs,
  tokenizePairs,
  type Dataset,
  type Example,
  type TextPair,
  type Tokenizer,
} from '../index.ts';
import type { DemoPlan } from './options.ts';

export interface DemoData {
  /** Where the text comes from, in words. */
  readonly description: string;
  readonly train: Dataset;
  readonly validation: Dataset;
  readonly test: Dataset;
  /** The test pairs as text and as tokens, in the same order. */
  readonly testPairs: readonly TextPair[];
  readonly testExamples: readonly Example[];
}

/** @throws WgqaError NOT_FOUND, INVALID_FILE, IO, ABORTED */
export async function loadDemoData(
  directory: string,
  tokenizer: Tokenizer,
  plan: DemoPlan,
  signal: AbortSignal | undefined,
): Promise<DemoData> {
  const { batchSize, seed, maxSourceTokens, maxTargetTokens } = plan;
  const limits = { maxSourceTokens, maxTargetTokens, ...(signal && { signal }) };
  const take = (split: string, limit: number) =>
    takePairs(path.join(directory, `${split}.jsonl.gz`), limit);
  const encode = async (pairs: readonly TextPair[]) => tokenizePairs(pairs, tokenizer, limits);
  const testPairs = await take('test', plan.testPairs);
  const testExamples = await encode(testPairs);
  const train = await encode(await take('train', plan.steps * batchSize));
  const validation = await encode(await take('validation', plan.validationPairs));
  return {
    description: await describeData(directory),
    train: createDataset(train, { batchSize, seed }),
    validation: createDataset(validation, { batchSize }),
    test: createDataset(testExamples, { batchSize }),
    testPairs,
    testExamples,
  };
}

async function takePairs(file: string, limit: number): Promise<TextPair[]> {
  const pairs: TextPair[] = [];
  for await (const pair of readPairs(file)) {
    pairs.push(pair);
    if (pairs.length === limit) break;
  }
  return pairs;
}

/** The release that a manifest names; a data directory of another kind goes by its name. */
async function describeData(directory: string): Promise<string> {
  try {
    const text = await readFile(path.join(directory, 'manifest.json'), 'utf8');
    const { release } = JSON.parse(text) as { release?: unknown };
    if (typeof release === 'string') {
      return `${release}: package description to one-line synopsis`;
    }
  } catch {
    // A description is all that is lost.
  }
  return path.basename(path.resolve(directory));
}
