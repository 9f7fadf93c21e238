/** The answer of a report, in sentences and rows that every rendering shares. */
import { formatFixed } from '../../report/format.ts';
import type { Comparison, DatasetReport, Estimate, Measure, VariantRow } from '../report-types.ts';
import type { Metric } from '../results.ts';

/** A variant and the mean-pooled one that it is measured by. */
export interface Pair {
  readonly row: VariantRow;
  readonly baseline: VariantRow;
}

/** A pair that was compared. */
export interface Match extends Pair, Pick<Comparison, 'pValue' | 'adjustedPValue'> {
  readonly metric: Metric;
  /** row − baseline. */
  readonly difference: Estimate;
  readonly plannedPValue: number;
}

/** Every variant that has a baseline, beside it. */
export function pairsOf({ rows }: DatasetReport): Pair[] {
  return rows.flatMap((row) => {
    const baseline = rows.find(({ variant }) => variant === row.baseline);
    return baseline ? [{ row, baseline }] : [];
  });
}

/** Validation loss of the variant minus its baseline's, over seeds; NaN where one has none. */
export function gapAt({ row, baseline }: Pair, step: number): number {
  const [loss, other] = [row, baseline].map(({ curve }) => curve.find((p) => p.step === step));
  return (loss?.mean ?? NaN) - (other?.mean ?? NaN);
}

/** The planned comparisons by one metric, in the order of the rows. */
export function matchesOf(dataset: DatasetReport, { metric, comparisons }: Measure): Match[] {
  return pairsOf(dataset).flatMap((pair) => {
    const found = comparisonOf(comparisons, pair);
    return found ? [{ ...pair, metric, ...found }] : [];
  });
}

/** Per token, self- and cross-attention. */
export function kvBytesOf({ kvBytesPerToken }: VariantRow): number {
  return kvBytesPerToken.selfAttention + kvBytesPerToken.crossAttention;
}

function comparisonOf(
  comparisons: readonly Comparison[],
  { row: { variant: a }, baseline: { variant: b } }: Pair,
): Omit<Match, keyof Pair | 'metric'> | undefined {
  for (const { variant, other, difference, plannedPValue = NaN, ...rest } of comparisons) {
    const { pValue, adjustedPValue } = rest;
    const pValues = { pValue, adjustedPValue, plannedPValue };
    if (variant === a && other === b) return { difference, ...pValues };
    if (variant === b && other === a) return { difference: negated(difference), ...pValues };
  }
  return undefined;
}

function negated({ mean, low, high }: Estimate): Estimate {
  return { mean: -mean, low: -high, high: -low };
}

/** 1: above zero, −1: below, 0: the interval holds zero. */
function sideOfZero({ low, high }: Estimate): -1 | 0 | 1 {
  if (low > 0) return 1;
  return high < 0 ? -1 : 0;
}

const VERDICTS = {
  '1': 'better, with the interval clear of zero',
  '0': 'not to be told apart',
  '-1': 'worse, with the interval clear of zero',
} as const;

export function verdictOf(difference: Estimate): string {
  return VERDICTS[`${sideOfZero(difference)}`];
}

/** One sentence for the whole, one for each variant that is ahead, and what the others are. */
export function findingsOf(dataset: DatasetReport, measure: Measure): string[] {
  const matches = matchesOf(dataset, measure);
  if (matches.length === 0) return ['No variant and its mean-pooled counterpart are finished.'];
  const sided = (side: number): Match[] =>
    matches.filter(({ difference }) => sideOfZero(difference) === side);
  return [
    headlineOf(matches),
    ...sided(1).map(describeMatch),
    ...listOthers('Not to be told apart from the mean', sided(0)),
    ...listOthers('Worse than it, with the interval clear of zero', sided(-1)),
  ];
}

function listOthers(what: string, matches: readonly Match[]): string[] {
  if (matches.length === 0) return [];
  const names = matches.map(
    ({ row, baseline, metric, difference }) =>
      `${row.variant} (${signed(difference.mean, decimalsOf(metric))} on ${baseline.variant})`,
  );
  return [`${what}: ${names.join(', ')}.`];
}

/** Below this a corrected p-value is said to stand. */
const LEVEL = 0.05;

function headlineOf(matches: readonly Match[]): string {
  const winners = matches.filter(({ difference }) => sideOfZero(difference) > 0);
  if (winners.length === 0)
    return 'No variant beats mean pooling at as many K/V bytes with the interval clear of zero.';
  const count = matches.length === 1 ? 'this comparison' : `these ${matches.length} comparisons`;
  const standing = winners.filter(({ plannedPValue }) => plannedPValue < LEVEL);
  return (
    `With no more K/V bytes these beat mean pooling with the interval clear of zero: ${listOf(winners)}. ` +
    `With p below ${LEVEL} after Holm for ${count}: ${describePart(standing, winners)}.`
  );
}

function describePart(part: readonly Match[], whole: readonly Match[]): string {
  if (part.length === 0) return 'none of them';
  return part.length === whole.length && part.length > 1 ? 'all of them' : listOf(part);
}

function listOf(matches: readonly Match[]): string {
  return matches.map(({ row, baseline }) => `${row.variant} over ${baseline.variant}`).join(', ');
}

function describeMatch(match: Match): string {
  const { row, baseline, metric, difference, plannedPValue } = match;
  return (
    `${row.variant} − ${baseline.variant}: ${metric} ${formatDifference(difference, metric)}, ` +
    `p ${formatPValue(plannedPValue)} after Holm, ${commonSeeds(match)}: ${verdictOf(difference)}.`
  );
}

/** The bootstrap compares a pair on the seeds that both have. */
export function commonSeeds({ row, baseline }: Pair): string {
  const count = row.seeds.filter((seed) => baseline.seeds.includes(seed)).length;
  if (count === 0) return 'no seed in common';
  return count === 1 ? '1 seed' : `${count} seeds`;
}

/** A curve is a mean over its variant's seeds: where those differ, so do the gap's two sides. */
export function gapNoteOf(dataset: DatasetReport): string {
  const unequal = pairsOf(dataset)
    .filter(({ row, baseline }) => row.seeds.join() !== baseline.seeds.join())
    .map(({ row }) => row.variant);
  const meaning =
    'Validation loss of a variant minus that of its mean-pooled counterpart, from the first steps to the ' +
    'end; below zero the variant is ahead.';
  if (unequal.length === 0) return meaning;
  return `${meaning} Not of the same seeds as the mean, so the seeds' own differences are in it: ${unequal.join(', ')}.`;
}

/** A nat is much, a point of ROUGE is little. */
export function decimalsOf(metric: Metric): number {
  return metric === 'logLikelihood' ? 4 : 2;
}

/** "+0.31 (−0.12 to +0.74)" */
export function formatDifference({ mean, low, high }: Estimate, metric: Metric): string {
  const decimals = decimalsOf(metric);
  return `${signed(mean, decimals)} (${signed(low, decimals)} to ${signed(high, decimals)})`;
}

/** "18.00 to 19.25" */
export function formatInterval({ low, high }: Estimate, metric: Metric): string {
  const decimals = decimalsOf(metric);
  return `${formatFixed(low, decimals)} to ${formatFixed(high, decimals)}`;
}

export function signed(value: number, decimals: number): string {
  return `${value > 0 ? '+' : ''}${formatFixed(value, decimals)}`;
}

export function formatPValue(value: number): string {
  return value < 0.001 ? '< 0.001' : formatFixed(value, 3);
}
