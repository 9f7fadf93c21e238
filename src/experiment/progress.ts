/** Adds up the work of all missing runs, so that the time left is that of the experiment. */
import type { StepReport } from '../index.ts';
import type { ExperimentData } from './data.ts';
import type { DatasetPlan, ExperimentPlan, VariantPlan } from './plan.ts';

export interface ExperimentProgress {
  /** "debian, WGQA, seed 3: fine-tuning". */
  readonly stage: string;
  /** Work done, of `total`, in units of one pair going forward once. */
  readonly done: number;
  readonly total: number;
  /** Training loss, while there is one. */
  readonly loss?: number;
}

/** Work per pair, measured on the demo's model: a forward pass is the unit. */
const WORK = { train: 3, generate: 3 } as const;

interface Run {
  readonly dataset: DatasetPlan;
  readonly variant: VariantPlan;
  readonly seed: number;
  readonly data: ExperimentData;
}

export interface RunProgress {
  readonly step: (report: StepReport) => void;
  readonly text: () => void;
  /** Evaluations that a budget takes: done, of so many; no part of the work that is counted. */
  readonly allocation: (done: number, total: number) => void;
}

export class ExperimentMeter {
  readonly #plan: ExperimentPlan;
  readonly #total: number;
  readonly #report: ((progress: ExperimentProgress) => void) | undefined;
  #done = 0;

  constructor(
    plan: ExperimentPlan,
    runs: readonly Run[],
    report: ((progress: ExperimentProgress) => void) | undefined,
  ) {
    this.#plan = plan;
    this.#total = runs.reduce((sum, run) => sum + this.#workOf(run), 0);
    this.#report = report;
  }

  /** What one run reports to; what an earlier process did of it counts as done. */
  begin({ dataset, variant, seed }: Run): RunProgress {
    const name = `${dataset.name}, ${variant.name}, seed ${seed}`;
    const perStep = WORK.train * dataset.batchSize;
    const before = this.#done;
    return {
      step: ({ step, loss }) => {
        this.#done = before + step * perStep;
        this.#emit({ stage: `${name}: fine-tuning`, loss });
      },
      text: () => {
        this.#done += WORK.generate;
        this.#emit({ stage: `${name}: test pairs` });
      },
      allocation: (done, total) => {
        this.#emit({ stage: `${name}: K/V heads by layer, ${done} of ${total}` });
      },
    };
  }

  #emit(state: Pick<ExperimentProgress, 'stage' | 'loss'>): void {
    this.#report?.({ ...state, done: Math.min(this.#done, this.#total), total: this.#total });
  }

  #workOf({ dataset, variant, data }: Run): number {
    const { steps, epochs = 0 } = this.#plan.training;
    const batches = Math.ceil(data.train.length / dataset.batchSize);
    const trained = variant.trained ? (steps ?? epochs * batches) : 0;
    return WORK.train * trained * dataset.batchSize + WORK.generate * data.test.length;
  }
}
