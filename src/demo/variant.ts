/** One variant from conversion to summaries. */
import {
  kvHeadsOf,
  computeRouge,
  Engine,
  evaluateLoss,
  PRESETS,
  Trainer,
  WgqaError,
  type ConvertOptions,
  type Model,
  type PresetName,
  type Tokenizer,
} from '../index.ts';
import type { CurvePoint, VariantResult } from '../report/index.ts';
import type { DemoData } from './data.ts';
import { foldAndCompare } from '../scoring/fold.ts';
import { generateTexts } from '../scoring/generate-texts.ts';
import { readMergeWeights } from '../scoring/merge-weights.ts';
import { evaluationInterval, type DemoPlan } from './options.ts';
import type { WorkMeter } from './progress.ts';

/** What all variants have in common. */
export interface DemoRun {
  /** The multi-head model, which stays as it is. */
  readonly base: Model;
  readonly tokenizer: Tokenizer;
  readonly data: DemoData;
  readonly plan: DemoPlan;
  readonly meter: WorkMeter;
  readonly signal: AbortSignal | undefined;
}

export interface VariantOutcome {
  readonly result: VariantResult;
  /** What it generated for each test pair. */
  readonly texts: readonly string[];
  /** ROUGE-L F-measure of each test pair, in 0..1. */
  readonly rougeL: readonly number[];
  /** Largest difference between folded and unfolded logits, relative to the largest logit. */
  readonly foldError?: number;
}

/** Converts, fine-tunes, folds and scores one variant. */
export async function runVariant(run: DemoRun, preset: PresetName): Promise<VariantOutcome> {
  const { base, plan } = run;
  await using model = await base.convert(conversionOf(preset, plan));
  const trained = await fineTune(run, model, preset);
  const mergeWeights = await readMergeWeights(model);
  if (mergeWeights.length === 0) {
    return await scoreModel(run, model, { preset, ...trained });
  }
  const { folded, error } = await foldAndCompare(model, run.data.testExamples, run.signal);
  await using deployed = folded;
  const outcome = await scoreModel(run, deployed, { preset, ...trained, mergeWeights });
  return { ...outcome, foldError: error };
}

/** The model as it is, without fine-tuning, under a name of its own. */
export async function scoreUntouched(run: DemoRun, name: string): Promise<VariantOutcome> {
  return scoreModel(run, run.base, { preset: name, curve: [] });
}

function conversionOf(preset: PresetName, { kvHeads, seed }: DemoPlan): ConvertOptions {
  const grouped = PRESETS[preset].kvHeads === 'half';
  return { preset, seed, ...(grouped && kvHeads !== undefined && { kvHeads }) };
}

/** The same batches in the same order, and the same dropout seed, for every variant. */
async function fineTune({ data, plan, meter, signal }: DemoRun, model: Model, preset: string) {
  await using trainer = new Trainer(model, {
    preset: 'sound',
    optimizer: { type: 'adamw', learningRate: plan.learningRate, weightDecay: 0.01 },
    seed: plan.seed,
  });
  const curve: CurvePoint[] = [];
  let trainMilliseconds = 0;
  await trainer.fit(data.train, {
    steps: plan.steps,
    evaluate: { dataset: data.validation, everySteps: evaluationInterval(plan) },
    onStep: ({ step, loss, milliseconds }) => {
      curve.push({ step, loss });
      trainMilliseconds += milliseconds;
      meter.add(`${preset}: fine-tuning`, 'train', plan.batchSize, loss);
    },
    onEvaluate: ({ step, loss }) => {
      const last = curve.pop();
      if (last) curve.push({ ...last, step, evalLoss: loss });
      meter.add(`${preset}: fine-tuning`, 'evaluate', data.validation.length);
    },
    ...(signal && { signal }),
  });
  return { curve, trainMilliseconds };
}

type Known = Pick<VariantResult, 'preset' | 'curve' | 'trainMilliseconds' | 'mergeWeights'>;

async function scoreModel(run: DemoRun, model: Model, known: Known): Promise<VariantOutcome> {
  const { data, meter, tokenizer, plan, signal } = run;
  const { config } = model;
  const { preset, mergeWeights = [] } = known;
  const { loss } = await evaluateLoss(model, data.test, signal ? { signal } : {});
  if (!Number.isFinite(loss)) {
    throw new WgqaError('NON_FINITE', `the loss of ${preset} on the test pairs is ${loss}`);
  }
  meter.add(`${preset}: evaluation`, 'evaluate', data.test.length);
  await using engine = new Engine(model, { maxBatchSize: plan.batchSize, tokenizer });
  const generated = await generateTexts(
    engine,
    data.testExamples.map(({ inputIds }) => inputIds),
    {
      generation: { maxNewTokens: plan.maxTargetTokens },
      onDone: () => {
        meter.add(`${preset}: summaries`, 'generate', 1);
      },
      ...(signal && { signal }),
    },
  );
  const references = data.testPairs.map(({ target }) => target);
  const types = ['rouge1', 'rouge2', 'rougeL'] as const;
  const { mean, examples } = computeRouge(generated.texts, references, { types });
  return {
    texts: generated.texts,
    rougeL: examples.map(({ rougeL }) => rougeL.fmeasure),
    result: {
      ...known,
      heads: config.num_heads,
      kvHeads: kvHeadsOf(config, 'decoder.self', 0),
      parameters: model.parameterCount,
      mergeParameters: mergeWeights.reduce((sum, { values }) => sum + values.length, 0),
      evaluation: {
        loss,
        rouge1: mean.rouge1.fmeasure,
        rouge2: mean.rouge2.fmeasure,
        rougeL: mean.rougeL.fmeasure,
      },
      kvBytesPerToken: engine.stats().cacheBytesPerToken,
      tokensPerSecond: (1000 * generated.tokens) / generated.milliseconds,
    },
  };
}
