/** Options of `wgqa train` that become options of a trainer. */
import { Option, type Command } from 'commander';
import {
  TRAINER_PRESETS,
  type AdafactorOptions,
  type AdamWOptions,
  type ScheduleOptions,
  type TrainerOptions,
} from '../index.ts';
import { integerIn, numberIn } from '../options.ts';
import { numeric, pick } from './options.ts';

export interface TrainerFlags {
  readonly preset: keyof typeof TRAINER_PRESETS;
  readonly optimizer: 'adamw' | 'adafactor';
  readonly learningRate?: number;
  readonly weightDecay?: number;
  readonly schedule?: 'linear' | 'constant';
  readonly warmupSteps?: number;
  readonly warmupRatio?: number;
  readonly maxGradNorm?: number;
  readonly accumulate?: number;
  readonly dropout?: number;
  readonly trainable?: 'all' | 'merge';
  readonly computeDtype?: 'float32' | 'bfloat16';
  readonly activationCheckpointing?: boolean;
  readonly seed: number;
}

export interface DistillationFlags {
  readonly teacher?: string;
  readonly distillationWeight?: number;
  readonly temperature?: number;
}

const DEFAULT_LEARNING_RATE = 1e-3;

export function addTrainerOptions(command: Command): Command {
  const notNegative = numeric(numberIn({ min: 0 }));
  return command
    .optionsGroup('Training:')
    .addOption(
      new Option(
        '--preset <name>',
        'paper: as the authors of arXiv 2407.10855 (no warm-up, no clipping, decay of all ' +
          'weights); sound: 5 % warm-up, clipping at 1, no decay of merge weights',
      )
        .choices(Object.keys(TRAINER_PRESETS))
        .default('sound'),
    )
    .addOption(
      new Option('--optimizer <name>', 'optimiser')
        .choices(['adamw', 'adafactor'])
        .default('adamw'),
    )
    .option('--learning-rate <x>', 'highest learning rate (default: 1e-3)', notNegative)
    .option('--weight-decay <x>', 'default: 0.01 with adamw, 0 with adafactor', notNegative)
    .addOption(
      new Option('--schedule <type>', 'default: linear decay to 0 at the last step').choices([
        'linear',
        'constant',
      ]),
    )
    .addOption(
      new Option('--warmup-steps <n>', 'steps of linear warm-up')
        .argParser(numeric(integerIn()))
        .conflicts('warmupRatio'),
    )
    .option(
      '--warmup-ratio <x>',
      'warm-up as a part of all steps',
      numeric(numberIn({ min: 0, max: 1 })),
    )
    .option('--max-grad-norm <x>', 'clip the gradient to this norm; 0: off', notNegative)
    .option(
      '--accumulate <n>',
      'cut each batch into n parts computed one after another (default: 1)',
      numeric(integerIn(1)),
    )
    .option(
      '--dropout <x>',
      'default: dropout_rate of the model',
      numeric(numberIn({ min: 0, max: 0.999 })),
    )
    .addOption(
      new Option('--trainable <what>', 'all weights or merge weights alone (default: all)').choices(
        ['all', 'merge'],
      ),
    )
    .addOption(
      new Option(
        '--compute-dtype <type>',
        'what matrix products read; weights and optimiser stay float32 (default: float32)',
      ).choices(['float32', 'bfloat16']),
    )
    .option('--activation-checkpointing', 'run blocks twice instead of keeping their activations')
    .option('--seed <n>', 'seed of dropout and of the order of pairs', numeric(integerIn()), 0);
}

export function addDistillationOptions(command: Command): Command {
  return command
    .optionsGroup('Distillation:')
    .option(
      '--teacher <dir>',
      'a model of the same vocabulary to learn from beside the labels, such as the multi-head model',
    )
    .option(
      '--distillation-weight <x>',
      'of the teacher beside the labels, from 0 to 1 (default: 0.5)',
      numeric(numberIn({ min: 0, max: 1 })),
    )
    .option(
      '--temperature <x>',
      'softens the probabilities of both models (default: 2)',
      numeric(numberIn({ min: 0, exclusive: true })),
    );
}

/** The flags as options of distillation, without the teacher. */
export function distillationOptions({
  distillationWeight: weight,
  temperature,
}: Omit<DistillationFlags, 'teacher'>) {
  return { ...(weight !== undefined && { weight }), ...(temperature && { temperature }) };
}

/** The flags as trainer options: a preset with what was given in its place. */
export function trainerOptions(flags: TrainerFlags): TrainerOptions {
  return {
    ...pick(flags, [
      'preset',
      'maxGradNorm',
      'accumulate',
      'dropout',
      'trainable',
      'computeDtype',
      'activationCheckpointing',
      'seed',
    ]),
    optimizer: optimizerOf(flags),
    schedule: scheduleOf(flags),
  };
}

function optimizerOf(flags: TrainerFlags): AdamWOptions | AdafactorOptions {
  const { optimizer: type, learningRate = DEFAULT_LEARNING_RATE } = flags;
  const decay = pick(flags, ['weightDecay']);
  if (type === 'adafactor') return { type, learningRate, ...decay };
  return { ...TRAINER_PRESETS[flags.preset].optimizer, learningRate, ...decay };
}

function scheduleOf(flags: TrainerFlags): ScheduleOptions {
  const { type, ...warmup }: ScheduleOptions = TRAINER_PRESETS[flags.preset].schedule;
  const given = pick(flags, ['warmupSteps', 'warmupRatio']);
  return { type: flags.schedule ?? type, ...(Object.keys(given).length > 0 ? given : warmup) };
}
