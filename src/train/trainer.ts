/** Fine-tuning: one native call per optimiser step. */
import type { Dataset } from '../data/index.ts';
import { WgqaError } from '../errors.ts';
import {
  abortable,
  implementationOf,
  loadModel,
  type Model,
  type T5Model,
  type Tensor,
} from '../model/index.ts';
import { callNative, fromNative, native, type NativeTrainer } from '../native.ts';
import { checkOptions, checkValue, objectRule, pathRule, signalRule } from '../options.ts';
import { evaluateLoss } from './evaluate.ts';
import { fit } from './fit.ts';
import { toMicroBatches } from './micro-batches.ts';
import { resolveOptions, toNativeOptions, type ResolvedOptions } from './options.ts';
import { learningRateAt } from './schedule.ts';
import {
  readTrainingState,
  restoreState,
  stateFiles,
  stepMetadata,
  type Progress,
} from './state.ts';
import { checkTeacher, withTeacher } from './teacher.ts';
import type {
  EvaluationLoss,
  FitOptions,
  FitResult,
  ResumeOptions,
  StepResult,
  TrainerOptions,
  TrainingBatch,
} from './types.ts';

interface Abortable {
  readonly signal?: AbortSignal;
}

/** Updates the parameters of one model, whose memory it shares. Calls run one after another. */
export class Trainer implements AsyncDisposable {
  readonly model: Model;
  readonly #model: T5Model;
  readonly #native: NativeTrainer;
  readonly #options: ResolvedOptions;
  readonly #forget: readonly (() => void)[];
  #progress: Progress = { epoch: 0, batch: 0, plannedSteps: 0 };
  #last: Promise<unknown> = Promise.resolve();
  #disposal: Promise<void> | undefined;

  /** @throws WgqaError INVALID_ARGUMENT, DISPOSED */
  constructor(model: Model, options: TrainerOptions) {
    const implementation = implementationOf(model);
    this.model = model;
    this.#model = implementation;
    this.#options = resolveOptions(options, model.config);
    const { distillation } = options;
    const teacher =
      distillation && checkTeacher(distillation.teacher, implementation, 'distillation.teacher');
    this.#native = createNative(implementation, this.#options, teacher);
    const models = teacher ? [implementation, teacher] : [implementation];
    this.#forget = models.map((one) => one.addDependent(() => this.dispose()));
  }

  /** Optimiser steps taken. */
  get stepCount(): number {
    this.#assertUsable();
    return this.#native.stepCount();
  }

  /** Learning rate of the next step. @throws WgqaError INVALID_ARGUMENT without totalSteps */
  get learningRate(): number {
    const { optimizer, schedule } = this.#options;
    const { plannedSteps } = this.#progress;
    const planned = plannedSteps > 0 ? { totalSteps: plannedSteps } : {};
    return learningRateAt(this.stepCount, optimizer.learningRate, { ...planned, ...schedule });
  }

  /**
   * One optimiser step; if it fails or is aborted, parameters and optimiser stay as they were.
   * @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED, NON_FINITE, OUT_OF_MEMORY, ABORTED, DISPOSED
   */
  async step(batch: TrainingBatch, options: Abortable = {}): Promise<StepResult> {
    const { signal } = checkOptions(options, { signal: signalRule });
    const microBatches = toMicroBatches(batch, this.#options.accumulate, this.#model.config);
    return this.#inTurn(async () => {
      const { learningRate } = this;
      const step = () =>
        abortable(signal, (abort) => this.#native.step(microBatches, learningRate, abort));
      const result = await this.#model.turns.take(step, signal);
      const { loss, distillationLoss, gradNorm, tokens } = result;
      return {
        loss,
        ...(distillationLoss !== undefined && { distillationLoss }),
        gradNorm,
        learningRate,
        tokens,
        milliseconds: 1000 * result.seconds,
        denseMilliseconds: 1000 * result.denseSeconds,
        attentionMilliseconds: 1000 * result.attentionSeconds,
        scratchBytes: result.scratchBytes,
      };
    });
  }

  /**
   * Gradient of the mean loss, that of the teacher included, by parameter name, without dropout and
   * clipping; nothing changes.
   * @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED, ABORTED, DISPOSED
   */
  async gradients(batch: TrainingBatch, options: Abortable = {}): Promise<Map<string, Tensor>> {
    const { signal } = checkOptions(options, { signal: signalRule });
    const microBatches = toMicroBatches(batch, this.#options.accumulate, this.#model.config);
    return this.#inTurn(async () => {
      const gradients = await abortable(signal, (abort) =>
        this.#native.gradients(microBatches, abort),
      );
      return new Map(gradients.map(({ name, shape, data }) => [name, { data, shape }]));
    });
  }

  /** Mean loss over a dataset. @throws WgqaError INVALID_ARGUMENT, ABORTED, DISPOSED */
  async evaluate(dataset: Dataset, options: Abortable = {}): Promise<EvaluationLoss> {
    return this.#inTurn(() => evaluateLoss(this.#model, dataset, options));
  }

  /**
   * Trains over a dataset from where this trainer stands, also after `resume`.
   * @throws WgqaError INVALID_ARGUMENT, NON_FINITE, ABORTED, IO, NO_SPACE, DISPOSED
   */
  async fit(dataset: Dataset, options: FitOptions): Promise<FitResult> {
    return fit(this, this.#progress, dataset, options);
  }

  /**
   * Writes model, optimiser state and position into a checkpoint directory: all of it or nothing.
   * `loadModel` reads the model of it, `Trainer.resume` everything.
   * @throws WgqaError IO, NO_SPACE, DISPOSED
   */
  async save(directory: string): Promise<void> {
    checkValue(directory, pathRule, 'directory');
    await this.#inTurn(async () => {
      const state = { options: this.#options, progress: this.#progress, step: this.stepCount };
      const options = { dtype: 'float32', maxShardBytes: Number.MAX_SAFE_INTEGER } as const;
      await this.#model.saveWith(directory, options, {
        metadata: stepMetadata(state.step),
        extraFiles: await stateFiles(this.#native, state),
      });
    });
  }

  /**
   * Loads what `save` wrote, model included: training continues bit for bit on the same machine.
   * The caller disposes `trainer.model`. A distilled run needs its `teacher` again.
   * @throws WgqaError INVALID_ARGUMENT, NOT_FOUND, INVALID_FILE, IO, OUT_OF_MEMORY, ABORTED
   */
  static async resume(directory: string, options: ResumeOptions = {}): Promise<Trainer> {
    checkValue(directory, pathRule, 'directory');
    checkValue(options, objectRule, 'options');
    const { teacher, ...loading } = options;
    const state = await readTrainingState(directory);
    const trainerOptions = withTeacher(state.options, teacher);
    const model = await loadModel(directory, loading);
    try {
      if (teacher) checkTeacher(teacher, implementationOf(model), 'teacher');
      const trainer = makeFromFile(model, trainerOptions);
      await restoreState(trainer.#native, directory, state.step);
      trainer.#progress = { ...state.progress };
      return trainer;
    } catch (error) {
      await model.dispose();
      throw error;
    }
  }

  /** Waits for running work, then frees the optimiser state; the model stays. */
  async dispose(): Promise<void> {
    this.#disposal ??= this.#release();
    await this.#disposal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.dispose();
  }

  async #release(): Promise<void> {
    for (const forget of this.#forget) forget();
    await callNative(() => this.#native.dispose());
  }

  /** Runs `work` after everything asked for before it. */
  async #inTurn<T>(work: () => Promise<T>): Promise<T> {
    this.#assertUsable();
    const turn = this.#last.then(() => {
      this.#assertUsable();
      return work();
    });
    this.#last = turn.catch(() => undefined);
    return turn;
  }

  #assertUsable(): void {
    this.#model.assertUsable();
    if (this.#disposal !== undefined) throw new WgqaError('DISPOSED', 'the trainer was disposed');
  }
}

/** The options of a file are checked like anybody's, but it is the file that is wrong. */
function makeFromFile(model: Model, options: TrainerOptions): Trainer {
  try {
    return new Trainer(model, options);
  } catch (error) {
    if (!(error instanceof WgqaError) || error.code !== 'INVALID_ARGUMENT') throw error;
    const { message, field, allowed } = error;
    throw new WgqaError('INVALID_FILE', message, { field, allowed, cause: error });
  }
}

function createNative(
  model: T5Model,
  options: ResolvedOptions,
  teacher: T5Model | undefined,
): NativeTrainer {
  try {
    return native().createTrainer(model.native, toNativeOptions(options, teacher?.native));
  } catch (error) {
    throw fromNative(error);
  }
}
