/** What an experiment is to do: a JSON file, checked and complete. */
import path from 'node:path';
import { readJsonFile } from '../checkpoint/json.ts';
import { PAIR_FORMATS } from '../data/index.ts';
import { invalidArgument } from '../errors.ts';
import {
  PRESETS,
  type AttentionModule,
  type ConvertOptions,
  type GenerationOptions,
  type KvHeads,
  type PresetName,
  type ReadPairsOptions,
} from '../index.ts';
import {
  anything,
  arrayOf,
  booleanRule,
  checkOptions,
  checkValue,
  integerIn,
  isRecord,
  numberIn,
  objectRule,
  oneOf,
  stringRule,
  type Rule,
  type Rules,
} from '../options.ts';
import { resolveDistillation, type ResolvedDistillation } from '../train/options.ts';
import type { PaperColumn } from './report-types.ts';
import { METRICS, type Metric } from './results.ts';

/**
 * 'paper': as the authors' code trains and scores (their AdamW, the same order in each epoch, a
 * multi-head row that is not fine-tuned). 'sound': no decay of merge weights, warm-up, clipping, an
 * order of its own for each epoch, and a multi-head row that is trained like the rest.
 */
export type Settings = 'paper' | 'sound';

export interface DatasetPlan {
  readonly name: string;
  readonly description: string;
  /** Files of text pairs, absolute. */
  readonly train: readonly string[];
  readonly validation: readonly string[];
  readonly test: readonly string[];
  readonly reading: ReadPairsOptions;
  /** At most so many pairs of each file list; Infinity: all. */
  readonly trainPairs: number;
  readonly validationPairs: number;
  readonly testPairs: number;
  readonly maxSourceTokens: number;
  readonly maxTargetTokens: number;
  /** Pairs per optimiser step. */
  readonly batchSize: number;
  /** Training pairs, the first, that conversions look at. */
  readonly calibrationPairs: number;
  readonly metric: Metric;
  readonly paperColumn?: PaperColumn;
}

export interface VariantPlan {
  /** Unique in the plan; by default the preset's. */
  readonly name: string;
  readonly conversion: Omit<ConvertOptions, 'seed' | 'calibration'>;
  /** K/V heads by layer within so many bytes, instead of those of the conversion. */
  readonly budget?: BudgetPlan;
  /** Whether it is fine-tuned, or scored as converted. */
  readonly trained: boolean;
  readonly trainable: 'all' | 'merge';
  /** Learned from beside the labels: the multi-head model. Absent: the labels alone. */
  readonly distillation?: ResolvedDistillation;
  readonly seeds: readonly number[];
}

/** As AllocateOptions. */
export interface BudgetPlan {
  readonly maxBytes: number;
  readonly sourceTokens: number;
  readonly targetTokens: number;
}

export interface TrainingPlan {
  /** One of the two is there. */
  readonly steps?: number;
  readonly epochs?: number;
  readonly optimizer: 'adamw' | 'adafactor';
  readonly learningRate: number;
  readonly computeDtype: 'float32' | 'bfloat16';
  readonly activationCheckpointing: boolean;
  readonly accumulate: number;
  /** Steps between evaluations of the validation loss. */
  readonly evaluateEvery: number;
  /** Steps between saves of the state of training. */
  readonly checkpointEvery: number;
}

export interface EvaluationPlan {
  /** Pairs computed together; also the batches that batchBleu averages over. */
  readonly batchSize: number;
  /** What inference computes in. */
  readonly dtype: 'float32' | 'bfloat16' | 'int8';
  readonly generation: GenerationOptions;
  /** Pairs whose outputs the report shows side by side. */
  readonly samples: number;
}

export interface ExperimentPlan {
  readonly title: string;
  /** Directory of the multi-head checkpoint, absolute. */
  readonly base: string;
  readonly settings: Settings;
  readonly seeds: readonly number[];
  readonly datasets: readonly DatasetPlan[];
  readonly variants: readonly VariantPlan[];
  readonly training: TrainingPlan;
  readonly evaluation: EvaluationPlan;
}

/** Names become folders. */
const nameRule: Rule<string> = {
  allowed: 'up to 64 letters, digits, and any of . _ + ( ) - not at the start',
  accepts: (value): value is string =>
    typeof value === 'string' && /^[A-Za-z0-9][\w.+() -]{0,63}$/.test(value),
};
const count = integerIn(1);
const positive = numberIn({ min: 0, exclusive: true });
const presetRule = oneOf(...(Object.keys(PRESETS) as PresetName[]));
const files = arrayOf(stringRule, 1);
const seedsRule = arrayOf(integerIn(), 1);
const MAX_PLAN_BYTES = 1 << 20;

const PLAN_RULES = {
  title: stringRule,
  base: stringRule,
  settings: oneOf('paper', 'sound'),
  seeds: seedsRule,
  datasets: arrayOf(objectRule, 1),
  variants: arrayOf(anything<unknown>(), 1),
  training: objectRule,
  evaluation: objectRule,
} satisfies Rules;

const DATASET_RULES = {
  name: nameRule,
  description: stringRule,
  train: files,
  validation: files,
  test: files,
  format: oneOf(...PAIR_FORMATS),
  sourceField: stringRule,
  targetField: stringRule,
  prefix: { allowed: 'a string', accepts: (value): value is string => typeof value === 'string' },
  trainPairs: count,
  validationPairs: count,
  testPairs: count,
  calibrationPairs: count,
  maxSourceTokens: integerIn(2),
  maxTargetTokens: integerIn(2),
  batchSize: count,
  metric: oneOf(...METRICS),
  paperColumn: oneOf<PaperColumn>('multi-news', 'cnn-dailymail', 'wmt14', 't5-small-cnn-dailymail'),
} satisfies Rules;

const VARIANT_RULES = {
  name: nameRule,
  preset: presetRule,
  // Checked as a conversion of the base model: see checks.ts.
  kvHeads: anything<KvHeads>(),
  budget: objectRule,
  merge: oneOf('mean', 'weighted'),
  granularity: oneOf('head', 'row', 'column'),
  init: oneOf('mean', 'random', 'least-squares'),
  constraint: oneOf('none', 'softmax', 'signed'),
  grouping: oneOf('neighbouring', 'similarity'),
  alignment: oneOf('none', 'orthogonal'),
  expansion: booleanRule,
  modules: arrayOf(oneOf<AttentionModule>('decoder.self', 'decoder.cross', 'encoder.self'), 1),
  trained: booleanRule,
  trainable: oneOf('all', 'merge'),
  distillation: objectRule,
  seeds: seedsRule,
} satisfies Rules;

const BUDGET_RULES = {
  maxBytes: positive,
  sourceTokens: count,
  targetTokens: count,
} satisfies Rules;

const TRAINING_RULES = {
  steps: count,
  epochs: count,
  optimizer: oneOf('adamw', 'adafactor'),
  learningRate: positive,
  computeDtype: oneOf('float32', 'bfloat16'),
  activationCheckpointing: booleanRule,
  accumulate: count,
  evaluateEvery: count,
  checkpointEvery: count,
} satisfies Rules;

const EVALUATION_RULES = {
  batchSize: count,
  dtype: oneOf('float32', 'bfloat16', 'int8'),
  generation: objectRule,
  samples: integerIn(0, 100),
} satisfies Rules;

/**
 * Reads a plan. Paths in it are relative to its own folder.
 * @throws WgqaError NOT_FOUND, IO, INVALID_FILE for what is no JSON object, INVALID_ARGUMENT naming
 *   the field of the plan
 */
export async function readPlan(file: string): Promise<ExperimentPlan> {
  const value = await readJsonFile(file, MAX_PLAN_BYTES);
  return parsePlan(value, path.dirname(path.resolve(file)));
}

/** Checks a plan and fills in its defaults. @throws WgqaError INVALID_ARGUMENT */
export function parsePlan(value: unknown, directory: string): ExperimentPlan {
  if (!isRecord(value)) throw invalidArgument('plan', 'an object', value);
  const given = checkOptions(value, PLAN_RULES);
  const seeds = [...new Set(given.seeds ?? [0])];
  const settings = given.settings ?? 'sound';
  const datasets = required(given.datasets, PLAN_RULES.datasets, 'datasets');
  const variants = required(given.variants, PLAN_RULES.variants, 'variants');
  const plan: ExperimentPlan = {
    title: given.title ?? 'Learned merges of key and value heads, compared',
    base: path.resolve(directory, required(given.base, stringRule, 'base')),
    settings,
    seeds,
    datasets: datasets.map((dataset, i) => parseDataset(dataset, `datasets[${i}]`, directory)),
    variants: variants.map((variant, i) =>
      parseVariant(variant, `variants[${i}]`, { seeds, settings }),
    ),
    training: parseTraining(given.training),
    evaluation: parseEvaluation(given.evaluation),
  };
  requireUnique(plan.datasets, 'datasets');
  requireUnique(plan.variants, 'variants');
  return plan;
}

function parseDataset(value: unknown, field: string, directory: string): DatasetPlan {
  const given = checkOptions(value, DATASET_RULES, field);
  const name = required(given.name, nameRule, `${field}.name`);
  const filesOf = (split: 'train' | 'validation' | 'test') =>
    required(given[split], files, `${field}.${split}`).map((file) => path.resolve(directory, file));
  const { format, sourceField, targetField, prefix, paperColumn } = given;
  return {
    name,
    description: given.description ?? name,
    train: filesOf('train'),
    validation: filesOf('validation'),
    test: filesOf('test'),
    reading: {
      ...(format && { format }),
      ...(sourceField && { sourceField }),
      ...(targetField && { targetField }),
      ...(prefix !== undefined && { prefix }),
    },
    trainPairs: given.trainPairs ?? Infinity,
    validationPairs: given.validationPairs ?? Infinity,
    testPairs: given.testPairs ?? Infinity,
    maxSourceTokens: given.maxSourceTokens ?? 512,
    maxTargetTokens: given.maxTargetTokens ?? 256,
    batchSize: given.batchSize ?? 8,
    calibrationPairs: given.calibrationPairs ?? 256,
    metric: given.metric ?? 'rouge1',
    ...(paperColumn && { paperColumn }),
  };
}

/** A preset's name, or an object. */
function parseVariant(
  value: unknown,
  field: string,
  { seeds, settings }: Pick<ExperimentPlan, 'seeds' | 'settings'>,
): VariantPlan {
  const options =
    typeof value === 'string' ? { preset: checkValue(value, presetRule, field) } : value;
  const given = checkOptions(options, VARIANT_RULES, field);
  const { name = given.preset, trainable = 'all', seeds: own, ...merging } = given;
  const { distillation, budget, ...rest } = merging;
  // The authors report the released checkpoint in the multi-head row.
  const { trained = !(given.preset === 'MHA' && settings === 'paper'), ...conversion } = rest;
  if (given.preset === undefined && given.kvHeads === undefined && budget === undefined) {
    const allowed = `${presetRule.allowed}, or kvHeads or budget, and merge`;
    throw invalidArgument(`${field}.preset`, allowed, undefined);
  }
  return {
    name: required(name, nameRule, `${field}.name`),
    conversion,
    trained,
    trainable,
    ...(budget && { budget: parseBudget(budget, `${field}.budget`, given.kvHeads) }),
    ...(distillation && {
      distillation: parseDistillation(distillation, `${field}.distillation`, trained),
    }),
    seeds: [...new Set(own ?? seeds)],
  };
}

function parseBudget(value: unknown, field: string, kvHeads: KvHeads | undefined): BudgetPlan {
  if (kvHeads !== undefined) throw invalidArgument(field, 'absent beside kvHeads', value);
  const given = checkOptions(value, BUDGET_RULES, field);
  return {
    maxBytes: required(given.maxBytes, positive, `${field}.maxBytes`),
    sourceTokens: given.sourceTokens ?? 1,
    targetTokens: given.targetTokens ?? 1,
  };
}

function parseDistillation(value: unknown, field: string, trained: boolean) {
  if (!trained) throw invalidArgument(field, 'absent for a variant that is not trained', value);
  return resolveDistillation(value, field);
}

function parseTraining(value: unknown): TrainingPlan {
  const given = checkOptions(value ?? {}, TRAINING_RULES, 'training');
  const { steps, epochs } = given;
  if (steps !== undefined && epochs !== undefined) {
    throw invalidArgument('training.epochs', 'absent beside steps', epochs);
  }
  return {
    ...(steps === undefined ? { epochs: epochs ?? 3 } : { steps }),
    optimizer: given.optimizer ?? 'adamw',
    learningRate: given.learningRate ?? 1e-3,
    computeDtype: given.computeDtype ?? 'float32',
    activationCheckpointing: given.activationCheckpointing ?? false,
    accumulate: given.accumulate ?? 1,
    evaluateEvery: given.evaluateEvery ?? 500,
    checkpointEvery: given.checkpointEvery ?? 500,
  };
}

function parseEvaluation(value: unknown): EvaluationPlan {
  const given = checkOptions(value ?? {}, EVALUATION_RULES, 'evaluation');
  return {
    batchSize: given.batchSize ?? 16,
    dtype: given.dtype ?? 'float32',
    // Checked by the engine, before any training: see checks.ts.
    generation: given.generation ?? { maxNewTokens: 256 },
    samples: given.samples ?? 4,
  };
}

function required<T>(value: T | undefined, rule: Rule<T>, field: string): T {
  return checkValue(value, rule, field);
}

function requireUnique(items: readonly { readonly name: string }[], field: string): void {
  items.forEach(({ name }, index) => {
    if (items.findIndex((other) => other.name === name) === index) return;
    throw invalidArgument(`${field}[${index}].name`, 'unique in the plan', name);
  });
}
