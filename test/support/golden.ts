/** The reference cases of test/fixtures/golden; its README says how they came about. */
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { loadModel, type ForwardInput, type Model, type Tensor } from '../../src/index.ts';
import { readTensors, type ReferenceTensor } from './tensors.ts';

const ROOT = path.join(import.meta.dirname, '../fixtures/golden');

export const GOLDEN_CASES = readdirSync(ROOT, { withFileTypes: true })
  .filter((entry) => entry.isDirectory())
  .map((entry) => entry.name);

/** Hugging Face generate options, by their names there. */
export interface DecodeCase {
  readonly options: Readonly<Record<string, number | boolean>>;
  /** Start token first; padding behind the first end token. */
  readonly sequences: readonly (readonly number[])[];
  readonly sequences_scores?: readonly number[];
}

export interface GoldenCase {
  readonly kind: 'mha' | 'gqa' | 'wgqa';
  readonly kv_heads: number;
  readonly granularity: 'head' | 'row' | 'column' | null;
  readonly init: 'mean' | 'random' | null;
  readonly optimizer: {
    readonly lr: number;
    readonly betas: readonly [number, number];
    readonly eps: number;
    readonly weight_decay: number;
    readonly steps: number;
  };
  readonly losses: readonly number[];
  readonly decode: readonly DecodeCase[];
}

export interface Golden {
  readonly case: GoldenCase;
  readonly expected: ReadonlyMap<string, ReferenceTensor>;
  readonly batch: Required<Pick<ForwardInput, 'inputIds' | 'attentionMask' | 'labels'>>;
}

export function goldenModelDirectory(name: string): string {
  return path.join(ROOT, name, 'model');
}

export async function readGolden(name: string): Promise<Golden> {
  const text = await readFile(path.join(ROOT, name, 'case.json'), 'utf8');
  const expected = await readTensors(path.join(ROOT, name, 'expected.safetensors'));
  const block = (key: string): { data: BigInt64Array; shape: number[] } => {
    const tensor = expected.get(key);
    if (!(tensor?.data instanceof BigInt64Array)) throw new Error(`${name} has no ${key}`);
    return { data: tensor.data, shape: tensor.shape };
  };
  return {
    case: JSON.parse(text) as GoldenCase,
    expected,
    batch: {
      inputIds: block('input_ids'),
      attentionMask: block('attention_mask'),
      labels: block('labels'),
    },
  };
}

/** The model of a case before training: converted, with the case's initial merge weights. */
export async function loadGoldenModel(name: string, golden: Golden): Promise<Model> {
  const source = await loadModel(goldenModelDirectory(name));
  const { kind, kv_heads: kvHeads, granularity } = golden.case;
  if (kind === 'mha') return source;
  const merge = kind === 'gqa' ? 'mean' : 'weighted';
  const model = await source.convert({ kvHeads, merge, granularity: granularity ?? 'head' });
  await source.dispose();
  for (const [key, tensor] of golden.expected) {
    if (key.startsWith('init/')) await model.writeParameter(key.slice(5), tensor as Tensor);
  }
  return model;
}
