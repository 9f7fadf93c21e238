/** Options of a trainer, checked and complete. */
import type { ModelConfig } from '../checkpoint/config.ts';
import { isFoldable } from '../checkpoint/grouping.ts';
import { invalidArgument } from '../errors.ts';
import type { NativeModel, NativeOptimizer, NativeTrainerOptions } from '../native.ts';
import {
  arrayOf,
  booleanRule,
  checkOptions,
  checkValue,
  integerIn,
  isRecord,
  numberIn,
  objectRule,
  oneOf,
  type Rules,
} from '../options.ts';
import { TRAINER_PRESETS } from './presets.ts';
import type { DistillationOptions, ScheduleOptions, TrainerOptions } from './types.ts';

/**
 * Trainer options with every choice made: plain JSON, and valid trainer options themselves once a
 * teacher stands in `distillation`.
 */
export interface ResolvedOptions extends Required<
  Omit<TrainerOptions, 'preset' | 'optimizer' | 'distillation'>
> {
  readonly optimizer: NativeOptimizer & { readonly learningRate: number };
  readonly distillation?: ResolvedDistillation;
}

/** All of it but the teacher. */
export type ResolvedDistillation = Required<Omit<DistillationOptions, 'teacher'>>;

const unit = numberIn({ min: 0, max: 1 });
const notNegative = numberIn({ min: 0 });
const positive = numberIn({ min: 0, exclusive: true });
const rate = numberIn({ min: 0, max: 0.999 });

const ADAMW_RULES = {
  type: oneOf('adamw'),
  learningRate: notNegative,
  beta1: rate,
  beta2: numberIn({ min: 0, max: 0.999999 }),
  betas: arrayOf(unit, 2),
  epsilon: positive,
  weightDecay: notNegative,
} satisfies Rules;

const ADAFACTOR_RULES = {
  type: oneOf('adafactor'),
  learningRate: notNegative,
  decayRate: numberIn({ min: -1, max: 0 }),
  gradEpsilon: positive,
  parameterEpsilon: positive,
  clipThreshold: positive,
  scaleParameter: booleanRule,
  weightDecay: notNegative,
} satisfies Rules;

const SCHEDULE_RULES = {
  type: oneOf('linear', 'constant'),
  warmupSteps: integerIn(),
  warmupRatio: unit,
  totalSteps: integerIn(1),
} satisfies Rules;

const DISTILLATION_RULES = {
  weight: unit,
  temperature: positive,
} satisfies Rules;

const TRAINER_RULES = {
  preset: oneOf(...(Object.keys(TRAINER_PRESETS) as (keyof typeof TRAINER_PRESETS)[])),
  optimizer: objectRule,
  schedule: objectRule,
  maxGradNorm: notNegative,
  accumulate: integerIn(1),
  trainable: oneOf('all', 'merge'),
  dropout: rate,
  decayMergeWeights: booleanRule,
  seed: integerIn(),
  computeDtype: oneOf('float32', 'bfloat16'),
  activationCheckpointing: booleanRule,
  distillation: objectRule,
} satisfies Rules;

/**
 * Checks the options of a trainer of a model with `config` and fills in defaults.
 * @throws WgqaError INVALID_ARGUMENT
 */
export function resolveOptions(options: TrainerOptions, config: ModelConfig): ResolvedOptions {
  const given = checkOptions(options, TRAINER_RULES);
  const all = { ...(given.preset && TRAINER_PRESETS[given.preset]), ...given };
  const { trainable = 'all', dropout = config.dropout_rate } = all;
  if (trainable === 'merge' && !isFoldable(config)) {
    throw invalidArgument('trainable', "'all' for a model without merge weights", trainable);
  }
  const { teacher: _, ...distillation } = all.distillation ?? {}; // checked in teacher.ts
  const optimizer = checkValue(all.optimizer, objectRule, 'optimizer');
  const learningRate = optimizer['learningRate'];
  return {
    optimizer: {
      ...resolveOptimizer(optimizer),
      learningRate: checkValue(learningRate, notNegative, 'optimizer.learningRate'),
    },
    schedule: resolveSchedule(all.schedule),
    maxGradNorm: all.maxGradNorm ?? 0,
    accumulate: all.accumulate ?? 1,
    trainable,
    dropout,
    decayMergeWeights: all.decayMergeWeights ?? true,
    seed: all.seed ?? 0,
    computeDtype: all.computeDtype ?? 'float32',
    activationCheckpointing: all.activationCheckpointing ?? false,
    ...(all.distillation && { distillation: resolveDistillation(distillation, 'distillation') }),
  };
}

/**
 * Checks the options of distillation, but for the teacher, and fills in defaults.
 * @throws WgqaError INVALID_ARGUMENT naming a part of `field`
 */
export function resolveDistillation(options: unknown, field: string): ResolvedDistillation {
  const given = checkOptions(options, DISTILLATION_RULES, field);
  return { weight: given.weight ?? 0.5, temperature: given.temperature ?? 2 };
}

/** `teacher` is given iff `options` have `distillation`. */
export function toNativeOptions(
  options: ResolvedOptions,
  teacher: NativeModel | undefined,
): NativeTrainerOptions {
  const { optimizer, trainable, decayMergeWeights, maxGradNorm, dropout, seed } = options;
  const { computeDtype, activationCheckpointing, distillation } = options;
  return {
    optimizer,
    trainable,
    decayMergeWeights,
    maxGradNorm,
    dropoutRate: dropout,
    seed,
    computeDtype,
    activationCheckpointing,
    ...(distillation && teacher && { distillation: { ...distillation, teacher } }),
  };
}

function resolveOptimizer(optimizer: Readonly<Record<string, unknown>>): NativeOptimizer {
  const type = checkValue(optimizer['type'], oneOf('adamw', 'adafactor'), 'optimizer.type');
  return type === 'adamw' ? resolveAdamW(optimizer) : resolveAdafactor(optimizer);
}

function resolveAdamW(optimizer: Readonly<Record<string, unknown>>): NativeOptimizer {
  const given = checkOptions(optimizer, ADAMW_RULES, 'optimizer');
  const [beta1 = 0.9, beta2 = 0.999] = given.betas ?? [];
  if (given.betas && (given.betas.length !== 2 || !ADAMW_RULES.beta1.accepts(beta1))) {
    throw invalidArgument('optimizer.betas', 'two numbers from 0 to less than 1', given.betas);
  }
  return {
    type: 'adamw',
    beta1: given.beta1 ?? beta1,
    beta2: checkValue(given.beta2 ?? beta2, ADAMW_RULES.beta2, 'optimizer.beta2'),
    epsilon: given.epsilon ?? 1e-8,
    weightDecay: given.weightDecay ?? 0.01,
  };
}

function resolveAdafactor(optimizer: Readonly<Record<string, unknown>>): NativeOptimizer {
  const given = checkOptions(optimizer, ADAFACTOR_RULES, 'optimizer');
  return {
    type: 'adafactor',
    decayRate: given.decayRate ?? -0.8,
    gradEpsilon: given.gradEpsilon ?? 1e-30,
    parameterEpsilon: given.parameterEpsilon ?? 1e-3,
    clipThreshold: given.clipThreshold ?? 1,
    scaleParameter: given.scaleParameter ?? false,
    weightDecay: given.weightDecay ?? 0,
  };
}

function resolveSchedule(schedule: unknown): ScheduleOptions {
  const given = checkOptions(schedule, SCHEDULE_RULES, 'schedule');
  if (isRecord(schedule) && given.type === undefined) {
    throw invalidArgument('schedule.type', SCHEDULE_RULES.type.allowed, undefined);
  }
  if (given.warmupSteps !== undefined && given.warmupRatio !== undefined) {
    throw invalidArgument('schedule.warmupRatio', 'absent beside warmupSteps', given.warmupRatio);
  }
  return { ...given, type: given.type ?? 'constant' };
}
