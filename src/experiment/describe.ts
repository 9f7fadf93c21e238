/** A plan in words, for its report. */
import type { KvHeadsByLayer } from '../checkpoint/grouping.ts';
import type { ResolvedConversion } from '../convert/index.ts';
import { formatInteger } from '../report/format.ts';
import type { ExperimentPlan, VariantPlan } from './plan.ts';

const SETTINGS = {
  paper: [
    'Settings `paper`, as the code of arXiv 2407.10855 trains and scores: AdamW with weight decay 0.01 ' +
      'on everything, merge weights included, no warm-up, no clipping, the same order in each epoch; a ' +
      'multi-head row that is not fine-tuned.',
    'Weight decay alone draws merge weights towards zero: the tests of their movement are given ' +
      'against the start, as in the paper, and against what decay alone would have left.',
    'The paper averages BLEU over batches; comparisons here are of corpus BLEU, and the batch mean ' +
      '(`batchBleu`) stands beside it for each run.',
  ],
  sound: [
    'Settings `sound`: AdamW with 5 % warm-up, clipping at 1, linear decay of the learning rate, no ' +
      'weight decay of merge weights, another order in each epoch; the multi-head row is fine-tuned like ' +
      'the rest.',
  ],
} as const;

const COMMON = [
  'Every variant starts from the same checkpoint and sees the same batches in the same order with the ' +
    'same dropout seed; a seed changes all three of order, dropout and random merge weights.',
  'Scores are of folded models. `logLikelihood` is the mean log-probability of a token of the test targets, ' +
    'in nats: the negative of the loss.',
  'Intervals are 95 % percentile intervals of a paired bootstrap over test pairs and seeds; p-values are ' +
    'two-sided, corrected by Holm, each metric by itself: for all comparisons on a data set, and for the planned ' +
    'ones alone, of each variant with the mean-pooled one that keeps as many K/V bytes, or else the next larger.',
  'With one seed an interval knows of the choice of test pairs alone, and with a few seeds it is too narrow where ' +
    'they differ more than that choice does; the t-tests of weights take them as independent, which they are not.',
];

export function describeSettings({ settings }: ExperimentPlan): string[] {
  return [...SETTINGS[settings], ...COMMON];
}

export function describeTraining({ training, evaluation }: ExperimentPlan) {
  const { steps, epochs = 1, optimizer, learningRate, computeDtype } = training;
  const length = steps === undefined ? `${epochs} epochs` : `${formatInteger(steps)} steps`;
  const { maxNewTokens, numBeams = 1, doSample = false } = evaluation.generation;
  const search = numBeams > 1 ? `${numBeams} beams` : 'greedy';
  return {
    training: `${length}, ${optimizer} at ${learningRate}, ${computeDtype} products`,
    decoding:
      `${doSample ? 'sampling' : search}, at most ${maxNewTokens ?? 20} new tokens, ` +
      `${evaluation.dtype}, ${evaluation.batchSize} at a time`,
  };
}

const GRANULARITIES = {
  head: 'a weight per head',
  row: 'a weight per head and model dimension',
  column: 'a weight per head and head dimension',
} as const;

const STARTS = {
  mean: [],
  random: ['random start'],
  'least-squares': ['start from least squares'],
} as const;
const CONSTRAINTS = {
  none: [],
  softmax: ['softmax of weights'],
  signed: ['weights of unit magnitude'],
} as const;

function describeMerge({ merge, granularity, init, constraint }: ResolvedConversion): string[] {
  if (merge === 'mean') return ['mean of the heads'];
  return [GRANULARITIES[granularity], ...CONSTRAINTS[constraint], ...STARTS[init]];
}

/** Heads of the base model, and what a run had by layer. */
interface HeadsOfRun {
  readonly heads: number;
  readonly kvHeadsByLayer: KvHeadsByLayer | undefined;
}

function describeLayers(kvHeads: KvHeadsByLayer): string {
  const layers = Object.entries(kvHeads).map(
    ([module, list]) => `${module.replace('decoder.', '')} ${list.join(' ')}`,
  );
  return `K/V heads by layer (${layers.join(', ')})`;
}

export function describeVariant(
  { trained, trainable, distillation }: VariantPlan,
  conversion: ResolvedConversion,
  { heads, kvHeadsByLayer }: HeadsOfRun,
): string {
  const { kvHeads, grouping, alignment, expansion } = conversion;
  return [
    ...(kvHeadsByLayer ? [describeLayers(kvHeadsByLayer)] : []),
    ...(typeof kvHeads === 'number' ? [`${kvHeads} of ${heads} K/V heads`] : []),
    ...(grouping === 'similarity' ? ['grouped by similarity'] : []),
    ...(alignment === 'orthogonal' ? ['aligned'] : []),
    ...(kvHeads === heads && conversion.merge === 'mean' ? [] : describeMerge(conversion)),
    ...(expansion ? ['weighted expansion'] : []),
    ...(trainable === 'merge' ? ['merge weights alone trained'] : []),
    ...(distillation ? [describeDistillation(distillation)] : []),
    ...(trained ? [] : ['not fine-tuned']),
  ].join(', ');
}

function describeDistillation({
  weight,
  temperature,
}: NonNullable<VariantPlan['distillation']>): string {
  return `distilled from the multi-head model, weight ${weight}, T ${temperature}`;
}
