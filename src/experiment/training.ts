/** Fine-tuning of one run, from wherever it stopped. */
import {
  evaluateLoss,
  Trainer,
  TRAINER_PRESETS,
  type Device,
  type Model,
  type StepReport,
  type TrainerOptions,
} from '../index.ts';
import type { BudgetedHeads } from './budgets.ts';
import { evaluationBatches, trainingBatches } from './data.ts';
import type { RunInputs } from './identity.ts';
import type { TrainingPlan } from './plan.ts';
import {
  appendCurve,
  holdsState,
  readCurve,
  stateDirectory,
  trimCurve,
  type CurveLine,
} from './run-files.ts';
import { convertVariant } from './variants.ts';

export interface TrainingContext extends RunInputs {
  readonly baseModel: Model;
  /** The run's folder. */
  readonly directory: string;
  readonly device: 'auto' | Device | undefined;
  readonly threads: number | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onStep: (report: StepReport) => void;
  readonly onAllocation: (done: number, total: number) => void;
  readonly budgets: BudgetedHeads;
}

export interface TrainedRun extends AsyncDisposable {
  /** The caller's to dispose. */
  readonly model: Model;
  readonly curve: readonly CurveLine[];
}

/**
 * Converts and fine-tunes, or goes on from the state that the folder holds; an abort saves the state
 * before it throws.
 * @throws WgqaError what conversion or training failed with; ABORTED
 */
export async function trainRun(context: TrainingContext): Promise<TrainedRun> {
  const trainer = await startTrainer(context);
  try {
    await fit(trainer, context);
    await evaluateMissed(trainer, context);
    return disposable(trainer.model, await readCurve(context.directory));
  } catch (error) {
    await trainer.model.dispose();
    throw error;
  }
}

/** The model as converted, without any training. */
export async function convertRun(context: TrainingContext): Promise<TrainedRun> {
  const model = await convertBase(context);
  try {
    await evaluateStart(model, context);
    return disposable(model, await readCurve(context.directory));
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

function disposable(model: Model, curve: readonly CurveLine[]): TrainedRun {
  return { model, curve, [Symbol.asyncDispose]: () => model.dispose() };
}

function convertBase(context: TrainingContext): Promise<Model> {
  return convertVariant({ ...context, evaluation: context.plan.evaluation });
}

async function startTrainer(context: TrainingContext): Promise<Trainer> {
  const { directory, plan, variant, baseModel, device, threads, signal } = context;
  const state = stateDirectory(directory);
  if (await holdsState(directory)) {
    const trainer = await Trainer.resume(state, {
      dtype: plan.evaluation.dtype,
      ...(device !== undefined && { device }),
      ...(threads !== undefined && { threads }),
      ...(signal && { signal }),
      ...(variant.distillation && { teacher: baseModel }),
    });
    try {
      await trimCurve(directory, trainer.stepCount);
      if (trainer.stepCount % plan.training.evaluateEvery === 0) {
        await evaluateMissed(trainer, context);
      }
      return trainer;
    } catch (error) {
      await trainer.model.dispose();
      throw error;
    }
  }
  const model = await convertBase(context);
  try {
    await evaluateStart(model, context);
    return new Trainer(model, trainerOptions(context));
  } catch (error) {
    await model.dispose();
    throw error;
  }
}

function trainerOptions({ plan, variant, seed, baseModel }: TrainingContext): TrainerOptions {
  const { optimizer: type, learningRate } = plan.training;
  const { accumulate, computeDtype, activationCheckpointing } = plan.training;
  const { distillation } = variant;
  const preset = TRAINER_PRESETS[plan.settings];
  return {
    preset: plan.settings,
    optimizer: type === 'adamw' ? { ...preset.optimizer, learningRate } : { type, learningRate },
    accumulate,
    computeDtype,
    activationCheckpointing,
    trainable: variant.trainable,
    ...(distillation && { distillation: { ...distillation, teacher: baseModel } }),
    seed,
  };
}

/** The curve's first point: the loss as converted. */
async function evaluateStart(model: Model, context: TrainingContext): Promise<void> {
  await trimCurve(context.directory, -1);
  await evaluatePoint(model, context, { step: 0, stepMilliseconds: 0, stepTokens: 0 });
}

async function evaluatePoint(
  model: Model,
  { data, plan, signal, directory }: TrainingContext,
  point: Omit<CurveLine, 'loss'>,
): Promise<void> {
  const batches = evaluationBatches(data.validation, plan.evaluation);
  const { loss } = await evaluateLoss(model, batches, signal ? { signal } : {});
  await appendCurve(directory, { ...point, loss });
}

/** Evaluates where an interruption between a step and its evaluation has left the curve without. */
async function evaluateMissed(trainer: Trainer, context: TrainingContext): Promise<void> {
  const step = trainer.stepCount;
  const last = (await readCurve(context.directory)).at(-1);
  if (last?.step === step) return;
  // Nobody has timed the steps since the last point: they count as its own.
  const { stepMilliseconds = 0, stepTokens = 0 } = last ?? {};
  await evaluatePoint(trainer.model, context, { step, stepMilliseconds, stepTokens });
}

async function fit(trainer: Trainer, context: TrainingContext): Promise<void> {
  const { plan, data, dataset, signal, directory, onStep } = context;
  const meter = new StepMeter();
  const points: Promise<void>[] = [];
  try {
    await trainer.fit(trainingBatches(data, dataset, { ...context, settings: plan.settings }), {
      ...lengthOf(plan.training),
      evaluate: {
        dataset: evaluationBatches(data.validation, plan.evaluation),
        everySteps: plan.training.evaluateEvery,
      },
      checkpoint: { dir: stateDirectory(directory), everySteps: plan.training.checkpointEvery },
      onStep: (report) => {
        meter.add(report);
        onStep(report);
      },
      onEvaluate: ({ step, loss }) => {
        points.push(appendCurve(directory, { step, loss, ...meter.take() }));
      },
      ...(signal && { signal }),
    });
  } catch (error) {
    if (signal?.aborted === true) await trainer.save(stateDirectory(directory));
    throw error;
  } finally {
    await Promise.all(points);
  }
}

function lengthOf({ steps, epochs = 1 }: TrainingPlan) {
  return steps === undefined ? { epochs } : { steps };
}

/** Mean duration and tokens of the steps since it was last asked. */
class StepMeter {
  #steps = 0;
  #milliseconds = 0;
  #tokens = 0;

  add({ milliseconds, tokens }: StepReport): void {
    this.#steps += 1;
    this.#milliseconds += milliseconds;
    this.#tokens += tokens;
  }

  take(): Pick<CurveLine, 'stepMilliseconds' | 'stepTokens'> {
    const steps = Math.max(1, this.#steps);
    const means = {
      stepMilliseconds: this.#milliseconds / steps,
      stepTokens: this.#tokens / steps,
    };
    this.#steps = this.#milliseconds = this.#tokens = 0;
    return means;
  }
}
