/** What a trained run is worth: loss and texts of the test pairs, and their scores. */
import { meanKvHeads } from '../checkpoint/grouping.ts';
import {
  computeBleu,
  computeRouge,
  Engine,
  evaluateExamples,
  meanLoss,
  WgqaError,
  type ExampleLoss,
  type Model,
  type Tokenizer,
} from '../index.ts';
import { foldAndCompare } from '../scoring/fold.ts';
import { generateTexts, type GeneratedTexts } from '../scoring/generate-texts.ts';
import { countConversionWeights, readMergeWeights } from '../scoring/merge-weights.ts';
import { testBatches, type ExperimentData } from './data.ts';
import type { EvaluationPlan, ExperimentPlan, VariantPlan } from './plan.ts';
import type { FinishedRun, RunOutput, RunResult, TestScores } from './results.ts';

export interface ScoringContext {
  readonly plan: ExperimentPlan;
  readonly variant: VariantPlan;
  readonly data: ExperimentData;
  readonly tokenizer: Tokenizer;
  readonly signal: AbortSignal | undefined;
  /** Called after each text. */
  readonly onText: () => void;
}

type Scored = Omit<
  RunResult,
  | 'dataset'
  | 'variant'
  | 'seed'
  | 'identity'
  | 'steps'
  | 'curve'
  | 'trainMilliseconds'
  | 'trainTokensPerSecond'
>;

/**
 * Scores what would be deployed: the folded model.
 * @throws WgqaError INTERNAL if folding changed the logits, NON_FINITE, ABORTED
 */
export async function scoreRun(
  model: Model,
  context: ScoringContext,
): Promise<{ readonly scored: Scored; readonly outputs: FinishedRun['outputs'] }> {
  const mergeWeights = await readMergeWeights(model);
  const mergeParameters = countConversionWeights(model);
  const before = model.parameterCount;
  const score = async (deployed: Model) => {
    const { outputs, ...scored } = await scoreDeployed(deployed, context);
    const trained = trainedParameters(context.variant, { all: before, merge: mergeParameters });
    return {
      scored: { ...scored, mergeWeights, mergeParameters, trainedParameters: trained },
      outputs,
    };
  };
  if (mergeParameters === 0) return score(model);
  const { folded } = await foldAndCompare(model, context.data.test, context.signal);
  await using deployed = folded;
  return await score(deployed);
}

function trainedParameters(
  { trained, trainable }: VariantPlan,
  counts: { readonly all: number; readonly merge: number },
): number {
  return trained ? counts[trainable] : 0;
}

async function scoreDeployed(model: Model, context: ScoringContext) {
  const { plan, data, signal, tokenizer } = context;
  const { config } = model;
  const abort = signal ? { signal } : {};
  const losses = await evaluateExamples(model, testBatches(data.test, plan.evaluation), abort);
  checkFinite(losses);
  await using engine = new Engine(model, {
    maxBatchSize: maxSequences(plan.evaluation),
    tokenizer,
  });
  const generated = await generateTexts(
    engine,
    data.test.map(({ inputIds }) => inputIds),
    { generation: plan.evaluation.generation, onDone: context.onText, ...abort },
  );
  const outputs = pairUp(generated, losses, data);
  const byLayer = config.num_key_value_heads;
  return {
    heads: config.num_heads,
    kvHeads: meanKvHeads(config),
    ...(typeof byLayer === 'object' && { kvHeadsByLayer: byLayer }),
    parameters: model.parameterCount,
    kvBytesPerToken: engine.stats().cacheBytesPerToken,
    generateMilliseconds: generated.milliseconds,
    generatedTokens: generated.tokens,
    scores: scoreOutputs(outputs, plan.evaluation),
    outputs,
  };
}

function maxSequences({ batchSize, generation }: EvaluationPlan): number {
  return batchSize * Math.max(generation.numBeams ?? 1, generation.numReturnSequences ?? 1);
}

function checkFinite(losses: readonly ExampleLoss[]): void {
  const index = losses.findIndex(({ lossSum }) => !Number.isFinite(lossSum));
  if (index < 0) return;
  const message = `the loss on test pair ${index} is ${losses[index]?.lossSum}`;
  throw new WgqaError('NON_FINITE', message, { field: 'loss' });
}

function pairUp(
  { texts }: GeneratedTexts,
  losses: readonly ExampleLoss[],
  { testPairs }: ExperimentData,
): RunOutput[] {
  return testPairs.map(({ target }, i) => ({ target, output: texts[i] ?? '', ...losses[i]! }));
}

/** All scores of a run: what a reader of its `outputs.jsonl` gets too. */
export function scoreOutputs(
  outputs: readonly RunOutput[],
  { batchSize }: Pick<EvaluationPlan, 'batchSize'>,
): TestScores {
  const hypotheses = outputs.map(({ output }) => output);
  const references = outputs.map(({ target }) => target);
  const { mean } = computeRouge(hypotheses, references);
  return {
    loss: meanLoss(outputs),
    rouge1: 100 * mean.rouge1.fmeasure,
    rouge2: 100 * mean.rouge2.fmeasure,
    rougeL: 100 * mean.rougeL.fmeasure,
    rougeLsum: 100 * mean.rougeLsum.fmeasure,
    bleu: computeBleu(hypotheses, references).score,
    batchBleu: batchBleu(hypotheses, references, batchSize),
  };
}

function batchBleu(
  hypotheses: readonly string[],
  references: readonly string[],
  batchSize: number,
): number {
  let sum = 0;
  let batches = 0;
  for (let start = 0; start < hypotheses.length; start += batchSize) {
    const end = start + batchSize;
    const options = { smoothing: 'none' } as const;
    sum += computeBleu(hypotheses.slice(start, end), references.slice(start, end), options).score;
    batches += 1;
  }
  return sum / batches;
}
