/** Adds up the work of all stages, so that the time left is that of the whole demo. */
import type { DemoData } from './data.ts';
import { evaluationInterval, type DemoOptions, type DemoPlan } from './options.ts';

/** Work per pair, measured on the demo's model: a forward pass is the unit. */
const WORK = { train: 3, evaluate: 1, generate: 2 } as const;
type Kind = keyof typeof WORK;

export class WorkMeter {
  readonly #total: number;
  readonly #report: DemoOptions['onProgress'];
  #done = 0;

  constructor(plan: DemoPlan, data: DemoData, report: DemoOptions['onProgress']) {
    this.#total = totalWork(plan, data);
    this.#report = report;
  }

  /** Reports `pairs` more of a kind as done. */
  add(stage: string, kind: Kind, pairs: number, loss?: number): void {
    this.#done += WORK[kind] * pairs;
    const state = { stage, done: this.#done, total: this.#total };
    this.#report?.(loss === undefined ? state : { ...state, loss });
  }
}

function totalWork(plan: DemoPlan, { test, validation }: DemoData): number {
  const evaluations = Math.ceil(plan.steps / evaluationInterval(plan));
  const scoring = (WORK.evaluate + WORK.generate) * test.length;
  const training =
    WORK.train * plan.steps * plan.batchSize + WORK.evaluate * evaluations * validation.length;
  return plan.presets.length * (training + scoring) + scoring;
}
