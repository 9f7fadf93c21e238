/** The training loop: steps over epochs, with evaluation, checkpoints and metrics on the way. */
import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { writeError } from '../checkpoint/io-errors.ts';
import type { Dataset } from '../data/index.ts';
import { invalidArgument } from '../errors.ts';
import { throwIfAborted } from '../model/index.ts';
import {
  anything,
  checkOptions,
  checkValue,
  functionRule,
  integerIn,
  objectRule,
  pathRule,
  signalRule,
  type Rules,
} from '../options.ts';
import { checkDataset, withoutBatches } from './evaluate.ts';
import type { Progress } from './state.ts';
import type {
  EvaluationLoss,
  EvaluationReport,
  FitOptions,
  FitResult,
  StepReport,
  StepResult,
  TrainingBatch,
} from './types.ts';

const RULES = {
  epochs: integerIn(1),
  steps: integerIn(1),
  evaluate: objectRule,
  checkpoint: objectRule,
  metricsFile: pathRule,
  onStep: functionRule<(report: StepReport) => void>(),
  onEvaluate: functionRule<(report: EvaluationReport) => void>(),
  signal: signalRule,
} satisfies Rules;

const EVALUATE_RULES = { dataset: anything<Dataset>(), everySteps: integerIn(1) } satisfies Rules;
const CHECKPOINT_RULES = { dir: pathRule, everySteps: integerIn(1) } satisfies Rules;

/** What the loop needs of a trainer. */
export interface Fittable {
  readonly stepCount: number;
  step(batch: TrainingBatch, options: { readonly signal?: AbortSignal }): Promise<StepResult>;
  evaluate(dataset: Dataset, options: { readonly signal?: AbortSignal }): Promise<EvaluationLoss>;
  save(directory: string): Promise<void>;
}

/**
 * Trains from `progress`, which it moves on, to the end of `epochs` or `steps`.
 * @throws WgqaError INVALID_ARGUMENT, NON_FINITE, ABORTED, IO, NO_SPACE
 */
export async function fit(
  trainer: Fittable,
  progress: Progress,
  dataset: Dataset,
  options: FitOptions,
): Promise<FitResult> {
  const checked = checkFitOptions(options);
  checkDataset(dataset, 'dataset');
  const { steps, epochs = 0 } = checked;
  progress.plannedSteps = steps ?? trainer.stepCount + batchesLeft(progress, dataset, epochs);
  const metrics = await openMetrics(checked.metricsFile);
  try {
    return await runSteps(trainer, dataset, { ...checked, progress, metrics });
  } finally {
    await metrics?.close();
  }
}

function checkFitOptions(options: FitOptions) {
  const given = checkOptions(options, RULES);
  if ((given.epochs === undefined) === (given.steps === undefined)) {
    throw invalidArgument('epochs', 'given, or steps, but not both', given.epochs);
  }
  const { evaluate, checkpoint, ...rest } = given;
  return {
    ...rest,
    evaluation: evaluate && checkEvaluation(evaluate),
    saving: checkpoint && checkSaving(checkpoint),
    pass: given.signal === undefined ? {} : { signal: given.signal },
  };
}

function checkEvaluation(options: Readonly<Record<string, unknown>>) {
  const { dataset, everySteps } = checkOptions(options, EVALUATE_RULES, 'evaluate');
  checkDataset(dataset, 'evaluate.dataset');
  return { dataset, everySteps: checkValue(everySteps, integerIn(1), 'evaluate.everySteps') };
}

function checkSaving(options: Readonly<Record<string, unknown>>) {
  const { dir, everySteps } = checkOptions(options, CHECKPOINT_RULES, 'checkpoint');
  return {
    dir: checkValue(dir, pathRule, 'checkpoint.dir'),
    everySteps: checkValue(everySteps, integerIn(1), 'checkpoint.everySteps'),
  };
}

function batchesLeft(progress: Progress, dataset: Dataset, epochs: number): number {
  let left = -progress.batch;
  for (let epoch = progress.epoch; epoch < epochs; ++epoch) left += dataset.batchCount(epoch);
  return Math.max(0, left);
}

interface Run extends ReturnType<typeof checkFitOptions> {
  readonly progress: Progress;
  readonly metrics: Metrics | undefined;
}

async function runSteps(trainer: Fittable, dataset: Dataset, run: Run): Promise<FitResult> {
  const { progress } = run;
  const totalSteps = progress.plannedSteps;
  const firstStep = trainer.stepCount;
  const started = performance.now();
  let last: StepResult | undefined;
  for (const batch of batchesFrom(trainer, dataset, progress)) {
    throwIfAborted(run.signal);
    const result = await trainer.step(batch, run.pass);
    progress.batch += 1;
    last = result;
    const elapsed = performance.now() - started;
    const step = trainer.stepCount;
    const report: StepReport = {
      step,
      totalSteps,
      epoch: progress.epoch,
      ...result,
      tokensPerSecond: (1000 * result.tokens) / result.milliseconds,
      millisecondsLeft: (elapsed / (step - firstStep)) * (totalSteps - step),
    };
    await run.metrics?.append({ kind: 'step', ...report });
    run.onStep?.(report);
    await afterStep(trainer, run);
  }
  const { loss, distillationLoss } = last ?? { loss: undefined };
  return {
    step: trainer.stepCount,
    loss,
    ...(distillationLoss !== undefined && { distillationLoss }),
  };
}

/** Batches from where training stands, epoch after epoch, until enough steps are taken. */
function* batchesFrom(
  trainer: Fittable,
  dataset: Dataset,
  progress: Progress,
): Generator<TrainingBatch> {
  while (trainer.stepCount < progress.plannedSteps) {
    // Where a resumed epoch was at its end, there is nothing left of it.
    let isEmpty = progress.batch === 0;
    for (const batch of dataset.batches(progress.epoch, progress.batch)) {
      isEmpty = false;
      yield batch;
      if (trainer.stepCount >= progress.plannedSteps) return;
    }
    if (isEmpty) throw withoutBatches('dataset');
    progress.epoch += 1;
    progress.batch = 0;
  }
}

async function afterStep(trainer: Fittable, run: Run): Promise<void> {
  const step = trainer.stepCount;
  const isDue = (every: number): boolean =>
    step % every === 0 || step === run.progress.plannedSteps;
  if (run.evaluation !== undefined && isDue(run.evaluation.everySteps)) {
    const report = { step, ...(await trainer.evaluate(run.evaluation.dataset, run.pass)) };
    await run.metrics?.append({ kind: 'evaluation', ...report });
    run.onEvaluate?.(report);
  }
  if (run.saving !== undefined && isDue(run.saving.everySteps)) await trainer.save(run.saving.dir);
}

/** A file of JSON lines that is appended to. */
interface Metrics {
  append(line: Readonly<Record<string, unknown>>): Promise<void>;
  close(): Promise<void>;
}

async function openMetrics(file: string | undefined): Promise<Metrics | undefined> {
  if (file === undefined) return undefined;
  const translated = async <T>(work: () => Promise<T>): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw writeError(error, file);
    }
  };
  const handle = await translated(() => openToAppend(file));
  return {
    append: (line) => translated(() => appendLine(handle, `${JSON.stringify(line)}\n`)),
    close: () => handle.close(),
  };
}

/** Does not wait for the reader of a FIFO, whom nobody may have started. */
async function openToAppend(file: string): Promise<FileHandle> {
  const { O_APPEND, O_CREAT, O_WRONLY, O_NONBLOCK = 0 } = constants as Record<string, number>;
  return open(file, O_APPEND! | O_CREAT! | O_WRONLY! | O_NONBLOCK);
}

/** Of a line that a full disk cuts off, nothing stays: later ones would continue it. */
async function appendLine(handle: FileHandle, line: string): Promise<void> {
  const stats = await handle.stat();
  try {
    await handle.appendFile(line);
  } catch (error) {
    if (stats.isFile()) await handle.truncate(stats.size);
    throw error;
  }
}
