/** The finished runs as a report. */
import type { Model } from '../index.ts';
import { describeArchitecture } from '../report/architecture.ts';
import type { ExperimentData } from './data.ts';
import { describeSettings, describeTraining, describeVariant } from './describe.ts';
import { paperScore } from './paper-results.ts';
import type { DatasetPlan, ExperimentPlan, VariantPlan } from './plan.ts';
import type {
  CurveEstimate,
  DatasetReport,
  ExperimentReport,
  Measure,
  Sample,
  VariantRow,
} from './report-types.ts';
import type { FinishedRun, RunResult } from './results.ts';
import { compareRuns, kvBytes, type NamedRuns, type RunsComparison } from './statistics/compare.ts';
import { baselineOf, isMeanPooled, resolveVariant } from './variants.ts';
import { weightMovements } from './weights.ts';

export interface ReportInputs {
  readonly plan: ExperimentPlan;
  readonly version: string;
  readonly baseModel: Model;
  readonly finished: readonly FinishedRun[];
  /** By the name of the data set. */
  readonly data: ReadonlyMap<string, ExperimentData>;
  readonly plannedRuns: number;
  readonly signal: AbortSignal | undefined;
}

/** @throws WgqaError ABORTED */
export async function createReport(inputs: ReportInputs): Promise<ExperimentReport> {
  const { plan, baseModel, finished } = inputs;
  const datasets: DatasetReport[] = [];
  for (const dataset of plan.datasets) datasets.push(await reportDataset(dataset, inputs));
  return {
    title: plan.title,
    createdAt: new Date().toISOString(),
    version: inputs.version,
    settings: plan.settings,
    notes: describeSettings(plan),
    base: {
      name: lastName(plan.base),
      architecture: describeArchitecture(baseModel.config),
      parameters: baseModel.parameterCount,
    },
    ...describeTraining(plan),
    seeds: plan.seeds,
    datasets,
    missingRuns: inputs.plannedRuns - finished.length,
  };
}

async function reportDataset(plan: DatasetPlan, inputs: ReportInputs): Promise<DatasetReport> {
  const { finished, data, signal } = inputs;
  const runs = finished.filter(({ result }) => result.dataset === plan.name);
  const variants = variantsOf(inputs, runs);
  const named = variants.map(({ variant, ...own }) => ({ name: variant.name, ...own }));
  const { scores, comparisons } = await compareRuns(named, plan.metric, signal);
  const measures: [Measure, ...Measure[]] = [{ metric: plan.metric, comparisons }];
  if (plan.metric !== 'logLikelihood') measures.push(await measureLikelihood(named, signal));
  const { train = [], validation = [], test = [] } = data.get(plan.name) ?? {};
  return {
    name: plan.name,
    description: plan.description,
    trainPairs: train.length,
    validationPairs: validation.length,
    testPairs: test.length,
    metric: plan.metric,
    ...(plan.paperColumn && { paperColumn: plan.paperColumn }),
    rows: variants.map((variant) => rowOf({ ...variant, scores, dataset: plan, inputs })),
    measures,
    weights: variants.flatMap(({ variant, runs: own }) =>
      weightMovements(
        variant,
        own.map(({ result }) => result),
        inputs.plan,
      ),
    ),
    samples: samplesOf(variants, data.get(plan.name), inputs.plan.evaluation.samples),
  };
}

async function measureLikelihood(
  variants: readonly NamedRuns[],
  signal: AbortSignal | undefined,
): Promise<Measure> {
  const metric = 'logLikelihood';
  const { comparisons } = await compareRuns(variants, metric, signal);
  return { metric, comparisons };
}

interface VariantRuns {
  readonly variant: VariantPlan;
  /** At least one, in the order of seeds. */
  readonly runs: readonly FinishedRun[];
  /** Name of the variant that it is measured by. */
  readonly baseline: string | undefined;
}

/** Those that have a finished run. */
function variantsOf(
  { plan, baseModel: { config } }: ReportInputs,
  runs: readonly FinishedRun[],
): VariantRuns[] {
  const found = plan.variants
    .map((variant) => ({
      variant,
      runs: runs.filter(({ result }) => result.variant === variant.name),
    }))
    .filter((candidate) => candidate.runs.length > 0);
  const candidates = found.map(({ variant, runs: own }) => ({
    name: variant.name,
    kvBytes: kvBytes(own),
    isTrained: variant.trained,
    isMeanPooled: isMeanPooled(variant, resolveVariant(variant, config), config.num_heads),
  }));
  return found.map((variant, i) => ({
    ...variant,
    baseline: baselineOf(candidates[i]!, candidates),
  }));
}

interface RowInputs extends VariantRuns {
  readonly scores: RunsComparison['scores'];
  readonly dataset: DatasetPlan;
  readonly inputs: ReportInputs;
}

function rowOf(row: RowInputs): VariantRow {
  const { variant, runs, scores, dataset, baseline, inputs } = row;
  const results = runs.map(({ result }) => result);
  const mean = (value: (result: RunResult) => number): number =>
    results.reduce((sum, result) => sum + value(result), 0) / results.length;
  const [first] = results as [RunResult];
  const { paperColumn } = dataset;
  const paper = paperColumn && paperScore(paperColumn, variant.name);
  const { config } = inputs.baseModel;
  return {
    variant: variant.name,
    description: describeVariant(variant, resolveVariant(variant, config), {
      heads: config.num_heads,
      kvHeadsByLayer: first.kvHeadsByLayer,
    }),
    heads: first.heads,
    kvHeads: first.kvHeads,
    parameters: first.parameters,
    trainedParameters: first.trainedParameters,
    mergeParameters: first.mergeParameters,
    ...(baseline !== undefined && { baseline }),
    kvBytesPerToken: first.kvBytesPerToken,
    seeds: results.map(({ seed }) => seed),
    perSeed: results.map((result) => result.scores),
    score: scores.get(variant.name) ?? { mean: NaN, low: NaN, high: NaN },
    trainMilliseconds: mean(({ trainMilliseconds }) => trainMilliseconds),
    trainTokensPerSecond: mean(({ trainTokensPerSecond }) => trainTokensPerSecond),
    generatedTokensPerSecond: mean(
      ({ generatedTokens, generateMilliseconds }) =>
        (1000 * generatedTokens) / generateMilliseconds,
    ),
    curve: curveOf(results),
    ...(paper !== undefined && { paperScore: paper }),
  };
}

/** At the steps that every seed evaluated. */
function curveOf(results: readonly RunResult[]): CurveEstimate[] {
  const [first, ...others] = results;
  return (first?.curve ?? []).flatMap(({ step, loss }) => {
    const losses = [loss];
    for (const { curve } of others) {
      const point = curve.find((candidate) => candidate.step === step);
      if (point === undefined) return [];
      losses.push(point.loss);
    }
    const mean = losses.reduce((sum, value) => sum + value, 0) / losses.length;
    return [{ step, mean, lowest: Math.min(...losses), highest: Math.max(...losses) }];
  });
}

/** The first test pairs: chosen by nobody. */
function samplesOf(
  variants: readonly VariantRuns[],
  data: ExperimentData | undefined,
  count: number,
): Sample[] {
  return (data?.testPairs ?? []).slice(0, count).map(({ source, target }, index) => ({
    source,
    reference: target,
    outputs: variants.map(({ variant, runs }) => ({
      variant: variant.name,
      text: runs[0]?.outputs[index]?.output ?? '',
    })),
  }));
}

/** A path of this machine says nothing elsewhere. */
function lastName(directory: string): string {
  return directory.split('/').filter(Boolean).slice(-2).join('/');
}
