/** An experiment: every variant of a plan, with every seed, on every data set. */
import { loadModel, loadTokenizer, type Device, type Model, type Tokenizer } from '../index.ts';
import { BudgetedHeads } from './budgets.ts';
import { checkGeneration, checkVariants } from './checks.ts';
import { loadData, type ExperimentData } from './data.ts';
import { hashCheckpoint, runIdentity } from './identity.ts';
import type { DatasetPlan, ExperimentPlan, VariantPlan } from './plan.ts';
import { ExperimentMeter, type ExperimentProgress } from './progress.ts';
import { createReport } from './report.ts';
import type { ExperimentReport } from './report-types.ts';
import type { FinishedRun, RunResult } from './results.ts';
import {
  openRun,
  readOutputs,
  readResult,
  runDirectory,
  writeRun,
  type CurveLine,
} from './run-files.ts';
import { scoreRun } from './scoring.ts';
import { convertRun, trainRun } from './training.ts';

export { readPlan, type ExperimentPlan } from './plan.ts';
export type { ExperimentProgress } from './progress.ts';
export type { ExperimentReport } from './report-types.ts';
export { renderExperimentHtml } from './rendering/html.ts';
export { formatExperimentMarkdown, formatExperimentTable } from './rendering/text.ts';

export interface ExperimentOptions {
  /** Where the runs' folders are. */
  readonly out: string;
  /** Report on what is there, and run nothing. */
  readonly reportOnly?: boolean;
  readonly version: string;
  /** Default 'auto'. */
  readonly device?: 'auto' | Device;
  /** Default: one per core. */
  readonly threads?: number;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: ExperimentProgress) => void;
}

/** All that runs have in common. */
interface Laboratory {
  readonly plan: ExperimentPlan;
  readonly options: ExperimentOptions;
  readonly baseModel: Model;
  readonly tokenizer: Tokenizer;
  /** SHA-256 of the base checkpoint. */
  readonly base: string;
  readonly budgets: BudgetedHeads;
}

interface PlannedRun {
  readonly dataset: DatasetPlan;
  readonly variant: VariantPlan;
  readonly seed: number;
  readonly data: ExperimentData;
  readonly identity: string;
  readonly directory: string;
}

/**
 * Runs what is missing and reports on all of it. Runs that are finished stay as they are; one that
 * was cut off goes on from the last state that it saved. Whatever interrupts it, the scores are the
 * same in the end.
 * @throws WgqaError INVALID_ARGUMENT if a folder holds a run of another plan; what a run failed with;
 *   ABORTED
 */
export async function runExperiment(
  plan: ExperimentPlan,
  options: ExperimentOptions,
): Promise<ExperimentReport> {
  const { device, threads, signal } = options;
  const tokenizer = await loadTokenizer(plan.base);
  await using baseModel = await loadModel(plan.base, {
    dtype: plan.evaluation.dtype,
    ...(device !== undefined && { device }),
    ...(threads !== undefined && { threads }),
    ...(signal && { signal }),
  });
  checkVariants(plan, baseModel);
  const base = await hashCheckpoint(plan.base, signal);
  const laboratory: Laboratory = {
    ...{ plan, options, baseModel, tokenizer, base },
    budgets: new BudgetedHeads(),
  };
  const runs = await planRuns(laboratory);
  if (options.reportOnly !== true) await runMissing(laboratory, runs);
  return await createReport({
    plan,
    version: options.version,
    baseModel,
    finished: await readFinished(runs),
    data: new Map(runs.map(({ dataset, data }) => [dataset.name, data])),
    plannedRuns: runs.length,
    signal,
  });
}

/** Seeds in the outer loop: a report of half an experiment compares all variants. */
async function planRuns({ plan, options, tokenizer, base }: Laboratory): Promise<PlannedRun[]> {
  const runs: PlannedRun[] = [];
  const seeds = [...new Set(plan.variants.flatMap((variant) => variant.seeds))];
  for (const dataset of plan.datasets) {
    const data = await loadData(dataset, tokenizer, options.signal);
    for (const seed of seeds) {
      for (const variant of plan.variants.filter((candidate) => candidate.seeds.includes(seed))) {
        const identity = runIdentity({ plan, dataset, variant, seed, data, base });
        const key = { dataset: dataset.name, variant: variant.name, seed };
        const directory = runDirectory(options.out, key);
        runs.push({ dataset, variant, seed, data, identity, directory });
      }
    }
  }
  return runs;
}

async function runMissing(laboratory: Laboratory, runs: readonly PlannedRun[]): Promise<void> {
  const missing: PlannedRun[] = [];
  for (const run of runs) if ((await finishedResult(run)) === undefined) missing.push(run);
  const [first] = missing;
  if (first === undefined) return;
  const { plan, baseModel, tokenizer, options } = laboratory;
  await checkGeneration(baseModel, tokenizer, plan.evaluation, first.data, options.signal);
  const meter = new ExperimentMeter(plan, missing, options.onProgress);
  for (const run of missing)
    await writeRun(run.directory, await executeRun(laboratory, run, meter));
}

/** The run's result if it is there. @throws WgqaError INVALID_FILE, IO */
async function finishedResult({ directory, identity }: PlannedRun): Promise<RunResult | undefined> {
  const result = await readResult(directory);
  return result?.identity === identity ? result : undefined;
}

async function executeRun(
  laboratory: Laboratory,
  run: PlannedRun,
  meter: ExperimentMeter,
): Promise<FinishedRun> {
  const { signal, device, threads } = laboratory.options;
  await openRun(run.directory, run.identity);
  const progress = meter.begin(run);
  const context = { ...laboratory, ...run, signal, device, threads };
  const train = run.variant.trained ? trainRun : convertRun;
  await using trained = await train({
    ...context,
    onStep: progress.step,
    onAllocation: progress.allocation,
  });
  const { scored, outputs } = await scoreRun(trained.model, { ...context, onText: progress.text });
  return {
    outputs,
    result: {
      dataset: run.dataset.name,
      variant: run.variant.name,
      seed: run.seed,
      identity: run.identity,
      ...scored,
      ...summarizeCurve(trained.curve),
    },
  };
}

/** Times of steps that were not evaluated between, as of those that were. */
function summarizeCurve(lines: readonly CurveLine[]) {
  let milliseconds = 0;
  let tokens = 0;
  lines.forEach(({ step, stepMilliseconds, stepTokens }, index) => {
    const steps = step - (lines[index - 1]?.step ?? 0);
    milliseconds += steps * stepMilliseconds;
    tokens += steps * stepTokens;
  });
  return {
    steps: lines.at(-1)?.step ?? 0,
    curve: lines.map(({ step, loss }) => ({ step, loss })),
    trainMilliseconds: milliseconds,
    trainTokensPerSecond: milliseconds === 0 ? 0 : (1000 * tokens) / milliseconds,
  };
}

async function readFinished(runs: readonly PlannedRun[]): Promise<FinishedRun[]> {
  const finished: FinishedRun[] = [];
  for (const run of runs) {
    const result = await finishedResult(run);
    if (result) finished.push({ result, outputs: await readOutputs(run.directory) });
  }
  return finished;
}
