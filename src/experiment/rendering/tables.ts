/** The tables of a report as text, the same for HTML and Markdown. */
import type { FigureTable } from '../../report/sections/table.ts';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatFixed,
  formatInteger,
  NO_VALUE,
} from '../../report/format.ts';
import type { DatasetReport, Measure, VariantRow, WeightMovement } from '../report-types.ts';
import {
  commonSeeds,
  decimalsOf,
  formatDifference,
  formatInterval,
  formatPValue,
  gapAt,
  matchesOf,
  pairsOf,
  signed,
  verdictOf,
} from './findings.ts';

/** Like the paper's Table 1, with what each variant costs. */
export function resultsTable({ rows, metric, paperColumn }: DatasetReport): FigureTable {
  const paper = paperColumn === undefined ? [] : ['paper'];
  return {
    headings: [
      ...['variant', metric, '95 % interval', ...paper, 'loss', 'seeds', 'K/V heads'],
      ...['K/V per token: self, cross', 'parameters', 'merge weights', 'trained', 'training'],
      ...['trained tokens/s', 'generated tokens/s', 'what'],
    ],
    rows: rows.map((row) => [
      row.variant,
      formatFixed(row.score.mean, decimalsOf(metric)),
      formatInterval(row.score, metric),
      ...paper.map(() => formatFixed(row.paperScore ?? NaN, 1)),
      formatFixed(meanLoss(row), 4),
      String(row.seeds.length),
      `${formatKvHeads(row)} of ${row.heads}`,
      `${formatBytes(row.kvBytesPerToken.selfAttention)}, ${formatBytes(row.kvBytesPerToken.crossAttention)}`,
      formatCount(row.parameters),
      formatInteger(row.mergeParameters),
      formatCount(row.trainedParameters),
      row.trainedParameters > 0 ? formatDuration(row.trainMilliseconds) : NO_VALUE,
      row.trainedParameters > 0 ? formatCount(row.trainTokensPerSecond) : NO_VALUE,
      formatCount(row.generatedTokensPerSecond),
      row.description,
    ]),
  };
}

/** A mean over layers has a fraction. */
export function formatKvHeads({ kvHeads }: VariantRow): string {
  return Number.isInteger(kvHeads) ? String(kvHeads) : formatFixed(kvHeads, 2);
}

function meanLoss({ perSeed }: VariantRow): number {
  return perSeed.reduce((sum, { loss }) => sum + loss, 0) / perSeed.length;
}

/** Every score of every run. */
export function runsTable({ rows }: DatasetReport): FigureTable {
  const metrics = ['loss', 'rouge1', 'rouge2', 'rougeL', 'rougeLsum', 'bleu', 'batchBleu'] as const;
  return {
    headings: ['variant', 'seed', ...metrics],
    rows: rows.flatMap(({ variant, seeds, perSeed }) =>
      seeds.map((seed, i) => [
        variant,
        String(seed),
        ...metrics.map((metric) =>
          formatFixed(perSeed[i]?.[metric] ?? NaN, metric === 'loss' ? 4 : 2),
        ),
      ]),
    ),
  };
}

/** Each variant and the mean-pooled one that it is measured by: what the experiment asks. */
export function plannedComparisonsTable(dataset: DatasetReport, measure: Measure): FigureTable {
  return {
    headings: [
      ...['variant', 'mean', `${measure.metric}, variant − mean`, 'p', 'p (Holm, planned)'],
      ...['p (Holm, all)', 'on', 'verdict'],
    ],
    rows: matchesOf(dataset, measure).map((match) => [
      match.row.variant,
      match.baseline.variant,
      formatDifference(match.difference, measure.metric),
      formatPValue(match.pValue),
      formatPValue(match.plannedPValue),
      formatPValue(match.adjustedPValue),
      commonSeeds(match),
      verdictOf(match.difference),
    ]),
  };
}

export function equalComparisonsTable({ metric, comparisons }: Measure): FigureTable {
  return comparisonsTable({
    metric,
    comparisons: comparisons.filter(({ sameKvBytes }) => sameKvBytes),
  });
}

export function otherComparisonsTable({ metric, comparisons }: Measure): FigureTable {
  return comparisonsTable({
    metric,
    comparisons: comparisons.filter(({ sameKvBytes }) => !sameKvBytes),
  });
}

function comparisonsTable({ metric, comparisons }: Measure): FigureTable {
  return {
    headings: ['variant', 'other', `${metric}, variant − other`, 'p', 'p (Holm)', 'verdict'],
    rows: comparisons.map(({ variant, other, difference, pValue, adjustedPValue }) => [
      variant,
      other,
      formatDifference(difference, metric),
      formatPValue(pValue),
      formatPValue(adjustedPValue),
      verdictOf(difference),
    ]),
  };
}

/** Validation loss of each variant minus that of its mean-pooled counterpart, by step. */
export function gapTable(dataset: DatasetReport): FigureTable {
  const pairs = pairsOf(dataset);
  return {
    headings: ['step', ...pairs.map(({ row, baseline }) => `${row.variant} − ${baseline.variant}`)],
    rows: stepsOf(pairs.map(({ row }) => row)).map((step) => [
      formatInteger(step),
      ...pairs.map((pair) => signed(gapAt(pair, step), 4)),
    ]),
  };
}

/** The steps of all curves, in order. */
function stepsOf(rows: readonly VariantRow[]): number[] {
  const steps = new Set(rows.flatMap(({ curve }) => curve.map(({ step }) => step)));
  return [...steps].sort((a, b) => a - b);
}

/** Validation loss by step: mean over seeds, with the lowest and highest where they differ. */
export function curvesTable({ rows }: DatasetReport): FigureTable {
  return {
    headings: ['step', ...rows.map(({ variant }) => variant)],
    rows: stepsOf(rows).map((step) => [
      formatInteger(step),
      ...rows.map((row) => formatLoss(row, step)),
    ]),
  };
}

function formatLoss({ curve }: VariantRow, step: number): string {
  const point = curve.find((candidate) => candidate.step === step);
  if (point === undefined) return NO_VALUE;
  const { mean, lowest, highest } = point;
  const spread = ` (${formatFixed(lowest, 4)} to ${formatFixed(highest, 4)})`;
  return `${formatFixed(mean, 4)}${highest > lowest ? spread : ''}`;
}

/** The paper's Figure 2: all weights of a variant together. */
export function movementTable({ weights }: DatasetReport): FigureTable {
  return {
    headings: MOVEMENT_HEADINGS,
    rows: weights
      .filter(({ layer }) => layer === undefined)
      .map((movement) => [movement.variant, ...movementCells(movement)]),
  };
}

/** How many of each variant's weights ended in which of its bins. */
export function distributionTable({ weights }: DatasetReport): FigureTable {
  const overall = weights.filter(({ layer }) => layer === undefined);
  const bins = overall[0]?.histogram.counts.length ?? 0;
  return {
    headings: ['variant', 'from', 'to', ...Array.from({ length: bins }, (_, i) => `bin ${i + 1}`)],
    rows: overall.map(({ variant, histogram: { low, high, counts } }) => [
      variant,
      formatFixed(low, 4),
      formatFixed(high, 4),
      ...counts.map(String),
    ]),
  };
}

/** Layer by layer. */
export function layersTable({ weights }: DatasetReport): FigureTable {
  return {
    headings: [MOVEMENT_HEADINGS[0] ?? '', 'module', ...MOVEMENT_HEADINGS.slice(1)],
    rows: weights
      .filter(({ layer }) => layer !== undefined)
      .map((movement) => [movement.variant, placeOf(movement), ...movementCells(movement)]),
  };
}

const MOVEMENT_HEADINGS = [
  ...['variant', 'weights', 'start', 'mean', 'mean |w − start|', 't', 'p'],
  ...['decay alone', 't against it', 'p against it'],
  ...['lowest', '25 %', 'median', '75 %', 'highest'],
];

function movementCells(movement: WeightMovement): string[] {
  return [
    formatInteger(movement.count),
    formatFixed(movement.initial, 4),
    formatFixed(movement.mean, 4),
    formatFixed(movement.meanAbsoluteDifference, 4),
    formatStatistic(movement.tStatistic),
    formatPValue(movement.pValue),
    formatFixed(movement.decayedInitial, 4),
    formatStatistic(movement.decayedTStatistic),
    formatPValue(movement.decayedPValue),
    ...spreadCells(movement),
  ];
}

function spreadCells({ spread }: WeightMovement): string[] {
  const { lowest, lowerQuartile, median, upperQuartile, highest } = spread;
  return [lowest, lowerQuartile, median, upperQuartile, highest].map((x) => formatFixed(x, 4));
}

/** Equal weights give a statistic without bound. */
function formatStatistic(value: number): string {
  if (Number.isNaN(value)) return NO_VALUE;
  return Math.abs(value) < 1e6 ? formatFixed(value, 2) : `${value < 0 ? '−' : ''}∞`;
}

function placeOf({ module, layer, projection }: WeightMovement): string {
  return `${module ?? ''} ${layer ?? ''} ${projection?.toUpperCase() ?? ''}`.trim();
}
