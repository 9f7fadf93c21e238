/** The outcomes of all variants as a report. */
import { availableParallelism } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Model } from '../index.ts';
import { describeArchitecture } from '../report/architecture.ts';
import { formatFixed } from '../report/format.ts';
import type { DemoReport, RunSettings, SampleSummary } from '../report/index.ts';
import { pairedBootstrap } from './bootstrap.ts';
import type { DemoData } from './data.ts';
import type { DemoOptions, DemoPlan } from './options.ts';
import type { VariantOutcome } from './variant.ts';

const BASELINE = 'MHA';

export interface ReportInputs {
  readonly options: DemoOptions;
  readonly base: Model;
  readonly data: DemoData;
  readonly outcomes: readonly VariantOutcome[];
  readonly createdAt: Date;
}

export function createReport({
  options,
  base,
  data,
  outcomes,
  createdAt,
}: ReportInputs): DemoReport {
  return {
    title: 'Multi-head to weighted grouped-query attention',
    createdAt: createdAt.toISOString(),
    settings: {
      ...settingsOf(options, base),
      dataset: data.description,
      trainExamples: data.train.length,
      evalExamples: data.test.length,
      notes: [...methodNotes(options.plan), ...foldNotes(outcomes), ...intervals(options.plan, outcomes)],
    },
    baseline: BASELINE,
    variants: outcomes.map(({ result }) => result),
    samples: samplesOf(data, outcomes, options.plan),
  };
}

function settingsOf(options: DemoOptions, base: Model) {
  const { plan } = options;
  return {
    command: options.command,
    version: options.version,
    checkpoint: nameOf(options.modelDirectory),
    architecture: describeArchitecture(base.config),
    steps: plan.steps,
    batchSize: plan.batchSize,
    optimizer: 'AdamW, weight decay 0.01 but for merge weights, clipping at 1, 5 % warm-up',
    learningRate: plan.learningRate,
    seed: plan.seed,
    trainPrecision: 'float32',
    decodePrecision: base.dtype,
    decoding: `greedy, at most ${plan.maxTargetTokens} new tokens, ${plan.batchSize} at a time`,
    device: base.device,
    threads: options.threads ?? availableParallelism(),
  } satisfies Partial<RunSettings>;
}

/** Relative to this package where it is part of it; elsewhere only the last name. */
function nameOf(directory: string): string {
  const root = fileURLToPath(new URL('../..', import.meta.url));
  const relative = path.relative(root, directory);
  const outside = relative === '' || relative.startsWith('..') || path.isAbsolute(relative);
  return outside ? path.basename(path.resolve(directory)) : relative;
}

function methodNotes(plan: DemoPlan): string[] {
  return [
    `Every variant starts from the same checkpoint and is trained on the same batches in the same ` +
      `order with the same dropout seed, MHA included; sources are cut to ${plan.maxSourceTokens} ` +
      `tokens. The row "${BASELINE} (before)" is the checkpoint itself, without fine-tuning.`,
  ];
}

function foldNotes(outcomes: readonly VariantOutcome[]): string[] {
  const errors = outcomes.flatMap(({ foldError }) => foldError ?? []);
  if (errors.length === 0) return [];
  const largest = Math.max(...errors);
  const compared =
    largest === 0
      ? 'are the same to the last bit'
      : `differ by at most ${largest.toExponential(1)} of the largest logit`;
  return [
    'All figures of weighted variants are those of the folded model. Folded and unfolded logits ' +
      `of held-out pairs were compared: they ${compared}.`,
  ];
}

/** Each weighted variant against the mean-pooled one with as many K/V heads. */
function intervals(plan: DemoPlan, outcomes: readonly VariantOutcome[]): string[] {
  const pooled = outcomes.filter(
    ({ result }) => result.mergeParameters === 0 && result.kvHeads < result.heads,
  );
  return outcomes.flatMap((outcome) => {
    const { preset, kvHeads, mergeParameters } = outcome.result;
    const other = pooled.find(({ result }) => result.kvHeads === kvHeads);
    if (mergeParameters === 0 || other === undefined) return [];
    const { low, high } = pairedBootstrap(outcome.rougeL, other.rougeL, plan.seed);
    const loss = outcome.result.evaluation.loss - other.result.evaluation.loss;
    const rouge = outcome.result.evaluation.rougeL - other.result.evaluation.rougeL;
    return (
      `${preset} minus ${other.result.preset} after ${plan.steps} steps: loss ${signed(loss, 4)}, ` +
      `ROUGE-L ${signed(100 * rouge, 2)} (95 % interval ${signed(100 * low, 2)} to ` +
      `${signed(100 * high, 2)}, paired bootstrap over ${outcome.rougeL.length} held-out pairs, one ` +
      `training run each).`
    );
  });
}

function signed(value: number, decimals: number): string {
  return `${value > 0 ? '+' : ''}${formatFixed(value, decimals)}`;
}

/** The first held-out pairs: chosen by nobody. */
function samplesOf(
  { testPairs }: DemoData,
  outcomes: readonly VariantOutcome[],
  { samples }: DemoPlan,
): SampleSummary[] {
  return testPairs.slice(0, samples).map(({ source, target }, i) => ({
    source,
    reference: target,
    outputs: outcomes.map(({ result, texts }) => ({
      preset: result.preset,
      text: texts[i] ?? '',
    })),
  }));
}
