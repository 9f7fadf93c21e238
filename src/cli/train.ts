/** `wgqa train`: fine-tune a model on text pairs. */
import { existsSync } from 'node:fs';
import path from 'node:path';
import { Option, type Command } from 'commander';
import {
  createDataset,
  loadModel,
  loadTokenizer,
  tokenizePairs,
  Trainer,
  type Dataset,
  type EvaluationReport,
  type Example,
  type FitOptions,
  type FitResult,
  type Model,
  type Tokenizer,
} from '../index.ts';
import { hashExamples } from '../data/hash.ts';
import { hashCheckpoint } from '../experiment/identity.ts';
import { integerIn } from '../options.ts';
import { formatCounted, formatFixed } from '../report/format.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { prepareDirectory } from './files.ts';
import {
  addCommand,
  addStorageOptions,
  deviceOption,
  machineOptions,
  numeric,
  pick,
  threadsOption,
  type MachineOptions,
  type StorageOptions,
} from './options.ts';
import { addPairOptions, readAllPairs, type PairOptions } from './pairs.ts';
import { createProgress, type Progress } from './progress.ts';
import { checkIdentity, writeIdentity, type RunIdentity } from './resumable-run.ts';
import {
  addDistillationOptions,
  addTrainerOptions,
  distillationOptions,
  trainerOptions,
  type DistillationFlags,
  type TrainerFlags,
} from './trainer-options.ts';

interface Options
  extends StorageOptions, PairOptions, MachineOptions, TrainerFlags, DistillationFlags {
  readonly json?: boolean;
  readonly out: string;
  readonly epochs?: number;
  readonly steps?: number;
  readonly batchSize: number;
  readonly maxBatchTokens?: number;
  readonly eval?: readonly string[];
  readonly evalEvery?: number;
  readonly checkpoint?: string;
  readonly checkpointEvery: number;
  readonly resume?: boolean;
  readonly metrics?: string;
}

export function addTrainCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'train <model> <pairs...>',
    'Fine-tune a model on files of text pairs. An interrupt (Ctrl-C) saves the checkpoint, if there\n' +
      'is to be one, and ends.',
    [
      'wgqa train t5-wgqa demo/data/train.jsonl.gz --out trained --epochs 1 --batch-size 16',
      'wgqa train t5-wgqa train.jsonl --out trained --steps 5000 --eval validation.jsonl --eval-every 500',
      'wgqa train t5-wgqa train.jsonl --out trained --epochs 3 --checkpoint state --resume',
      'wgqa train t5-wgqa train.jsonl --out trained --teacher t5 --distillation-weight 0.7',
    ],
  )
    .optionsGroup('Run:')
    .requiredOption('--out <dir>', 'directory of the trained model')
    .addOption(
      new Option('--epochs <n>', 'passes over the pairs (default: 1, unless --steps)')
        .argParser(numeric(integerIn(1)))
        .conflicts('steps'),
    )
    .option('--steps <n>', 'optimiser steps, those before a resume included', numeric(integerIn(1)))
    .option('--batch-size <n>', 'most pairs in a batch', numeric(integerIn(1)), 16)
    .option('--max-batch-tokens <n>', 'most tokens in a batch', numeric(integerIn(1)))
    .addOption(deviceOption())
    .addOption(threadsOption())
    .option('--eval <file...>', 'pairs to evaluate the loss on')
    .option(
      '--eval-every <n>',
      'steps between evaluations (default: at the end)',
      numeric(integerIn(1)),
    )
    .option('--checkpoint <dir>', 'where to save the state of training')
    .option('--checkpoint-every <n>', 'steps between checkpoints', numeric(integerIn(1)), 500)
    .option('--resume', 'continue from --checkpoint, with the same pairs and options')
    .option('--metrics <file>', 'append a JSON line for each step and evaluation');
  addTrainerOptions(command);
  addDistillationOptions(command);
  addPairOptions(command);
  addStorageOptions(command).action(async (model: string, files: string[], options: Options) => {
    if (options.resume && options.checkpoint === undefined) {
      command.error('error: --resume needs --checkpoint, the directory to continue from');
    }
    const { teacher, distillationWeight, temperature } = options;
    if (teacher === undefined && (distillationWeight ?? temperature) !== undefined) {
      command.error('error: --distillation-weight and --temperature need --teacher');
    }
    await train(model, files, options, context);
  });
}

async function train(
  directory: string,
  files: readonly string[],
  options: Options,
  context: CliContext,
): Promise<void> {
  const { signal } = context;
  await prepareDirectory(options.out, options.force);
  const tokenizer = await loadTokenizer(directory);
  const examples = await readExamples(files, tokenizer, options, signal);
  const evaluation = options.eval && (await readExamples(options.eval, tokenizer, options, signal));
  const batching = pick(options, ['batchSize', 'maxBatchTokens', 'seed']);
  const identity = {
    data: hashExamples(examples),
    ...pick(batching, ['batchSize', 'maxBatchTokens']),
    trainer: trainerOptions(options),
    ...(await distillationIdentity(options, signal)),
  };
  await using teacher = await loadTeacher(options, signal);
  await using trainer = await openTrainer(directory, identity, { ...options, teacher }, signal);
  await using model = trainer.model;
  const dataset = datasetOf(examples, options);
  const { result, lastEvaluation } = await fitWithProgress(
    trainer,
    dataset,
    evaluation && datasetOf(evaluation, options),
    options,
    context,
  );
  await model.save(options.out, { ...pick(options, ['dtype', 'layout']), signal });
  report(result, lastEvaluation, options, context);
}

async function readExamples(
  files: readonly string[],
  tokenizer: Tokenizer,
  options: Options,
  signal: AbortSignal,
): Promise<Example[]> {
  const limits = pick(options, ['maxSourceTokens', 'maxTargetTokens']);
  return tokenizePairs(readAllPairs(files, options), tokenizer, { ...limits, signal });
}

function datasetOf(
  examples: readonly Example[],
  { batchSize, maxBatchTokens: maxTokens, seed }: Options,
): Dataset {
  return createDataset(examples, { batchSize, seed, ...(maxTokens && { maxTokens }) });
}

async function distillationIdentity(
  options: DistillationFlags,
  signal: AbortSignal,
): Promise<Pick<RunIdentity, 'distillation'>> {
  if (options.teacher === undefined) return {};
  const teacher = await hashCheckpoint(options.teacher, signal);
  return { distillation: { teacher, ...distillationOptions(options) } };
}

async function loadTeacher(options: Options, signal: AbortSignal): Promise<Model | undefined> {
  const { teacher } = options;
  return teacher === undefined
    ? undefined
    : loadModel(teacher, { ...machineOptions(options), signal });
}

/** A new trainer of the model, or the one that the checkpoint holds. */
async function openTrainer(
  directory: string,
  identity: RunIdentity,
  options: Omit<Options, 'teacher'> & { readonly teacher: Model | undefined },
  signal: AbortSignal,
): Promise<Trainer> {
  const { checkpoint, resume, force, teacher } = options;
  const loading = { ...machineOptions(options), signal };
  if (checkpoint !== undefined && resume) {
    await checkIdentity(checkpoint, identity);
    // A run may end before its first checkpoint: then it goes on from its start.
    const isBegun = existsSync(path.join(checkpoint, 'config.json'));
    if (isBegun) return Trainer.resume(checkpoint, { ...loading, ...(teacher && { teacher }) });
  }
  if (checkpoint !== undefined && !resume) await prepareDirectory(checkpoint, force);
  const model = await loadModel(directory, loading);
  try {
    const distillation = teacher && { ...distillationOptions(options), teacher };
    const trainer = new Trainer(model, {
      ...identity.trainer,
      ...(distillation && { distillation }),
    });
    if (checkpoint !== undefined) await writeIdentity(checkpoint, identity);
    return trainer;
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

interface Fitted {
  readonly result: FitResult;
  readonly lastEvaluation: EvaluationReport | undefined;
}

async function fitWithProgress(
  trainer: Trainer,
  dataset: Dataset,
  evaluation: Dataset | undefined,
  options: Options,
  { stderr, signal }: CliContext,
): Promise<Fitted> {
  const { json = false, checkpoint } = options;
  const initialStep = trainer.stepCount;
  let progress: Progress | undefined;
  let lastEvaluation: EvaluationReport | undefined;
  let tokens = 0;
  try {
    const result = await trainer.fit(dataset, {
      ...fitOptions(options, evaluation),
      signal,
      onStep: ({ step, totalSteps, loss, distillationLoss, tokens: ofStep }) => {
        const fixed = { label: 'train', total: totalSteps, initialStep };
        progress ??= createProgress({ ...fixed, stream: stderr, json });
        tokens += ofStep;
        progress.update({ step, tokens, loss, distillationLoss });
      },
      onEvaluate: (report) => {
        lastEvaluation = report;
        progress?.log(`step ${report.step}: evaluation loss ${formatFixed(report.loss, 4)}`);
      },
    });
    return { result, lastEvaluation };
  } catch (error) {
    if (signal.aborted && checkpoint !== undefined) {
      await trainer.save(checkpoint);
      progress?.log(`saved step ${trainer.stepCount} in ${checkpoint}; --resume continues`);
    }
    throw error;
  } finally {
    progress?.finish();
  }
}

function fitOptions(options: Options, evaluation: Dataset | undefined): FitOptions {
  const { steps, epochs = 1, checkpoint, metrics } = options;
  const never = Number.MAX_SAFE_INTEGER; // but after the last step all the same
  return {
    ...(steps === undefined ? { epochs } : { steps }),
    ...(evaluation && {
      evaluate: { dataset: evaluation, everySteps: options.evalEvery ?? never },
    }),
    ...(checkpoint && { checkpoint: { dir: checkpoint, everySteps: options.checkpointEvery } }),
    ...(metrics && { metricsFile: metrics }),
  };
}

function report(
  { step, loss, distillationLoss }: FitResult,
  evaluation: EvaluationReport | undefined,
  { out, json }: Options,
  context: CliContext,
): void {
  if (json) {
    printJson(context, { out, step, loss, distillationLoss, evaluation });
    return;
  }
  const training = loss === undefined ? '' : `, training loss ${formatFixed(loss, 4)}`;
  const heldOut = evaluation && `, evaluation loss ${formatFixed(evaluation.loss, 4)}`;
  printLines(context, `${out}: ${formatCounted(step, 'step')}${training}${heldOut ?? ''}`);
}
