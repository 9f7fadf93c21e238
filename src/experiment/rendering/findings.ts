/** The answer of a report, in sentences and rows that every rendering shares. */
import { formatFixed } from '../../report/format.ts';
import type { Comparison, DatasetReport, Estimate, VariantRow } from '../report-types.ts';

/** A learned merge and the mean-pooled variant that keeps as many K/V bytes. */
export interface Match {
  readonly learned: VariantRow;
  readonly pooled: VariantRow;
  /** learned − pooled. */
  readonly difference: Estimate;
  readonly adjustedPValue: number;
}

/** Every fully trained learned merge beside its mean-pooled counterpart. */
export function matchesOf({ rows, comparisons }: DatasetReport): Match[] {
  const pooled = rows.filter(isPooled);
  return rows.filter(isLearned).flatMap((learned) => {
    const counterpart = pooled.find(({ kvHeads }) => kvHeads === learned.kvHeads);
    const found = counterpart && differenceOf(comparisons, learned, counterpart);
    return counterpart && found ? [{ learned, pooled: counterpart, ...found }] : [];
  });
}

export function isLearned({ mergeParameters }: VariantRow): boolean {
  return mergeParameters > 0;
}

function isPooled({ mergeParameters, kvHeads, heads, trainedParameters }: VariantRow): boolean {
  return mergeParameters === 0 && kvHeads < heads && trainedParameters > 0;
}

function differenceOf(
  comparisons: readonly Comparison[],
  { variant: a }: VariantRow,
  { variant: b }: VariantRow,
): Pick<Match, 'difference' | 'adjustedPValue'> | undefined {
  for (const { variant, other, difference, adjustedPValue } of comparisons) {
    if (variant === a && other === b) return { difference, adjustedPValue };
    if (variant === b && other === a) return { difference: negated(difference), adjustedPValue };
  }
  return undefined;
}

function negated({ mean, low, high }: Estimate): Estimate {
  return { mean: -mean, low: -high, high: -low };
}

/** 1: above zero, −1: below, 0: the interval holds zero. */
export function sideOfZero({ low, high }: Estimate): -1 | 0 | 1 {
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

/** One sentence for the whole, then one per match. */
export function findingsOf(dataset: DatasetReport): string[] {
  const matches = matchesOf(dataset);
  if (matches.length === 0)
    return ['No learned merge and its mean-pooled counterpart are finished.'];
  const winners = matches.filter(({ difference }) => sideOfZero(difference) > 0);
  const names = winners.map(({ learned, pooled }) => `${learned.variant} over ${pooled.variant}`);
  const answer =
    winners.length > 0
      ? `At equal K/V bytes these beat mean pooling with the interval clear of zero: ${names.join(', ')}.`
      : 'No learned merge beats mean pooling at equal K/V bytes with the interval clear of zero.';
  return [answer, ...matches.map((match) => describeMatch(match, dataset))];
}

function describeMatch({ learned, pooled, difference, adjustedPValue }: Match, d: DatasetReport) {
  return (
    `${learned.variant} − ${pooled.variant}: ${d.metric} ${formatDifference(difference)}, ` +
    `p ${formatPValue(adjustedPValue)} after Holm, ${seedsOf(learned)}: ${verdictOf(difference)}.`
  );
}

function seedsOf({ seeds }: VariantRow): string {
  return seeds.length === 1 ? '1 seed' : `${seeds.length} seeds`;
}

/** "+0.31 (−0.12 to +0.74)" */
export function formatDifference({ mean, low, high }: Estimate): string {
  return `${signed(mean)} (${signed(low)} to ${signed(high)})`;
}

export function signed(value: number, decimals = 2): string {
  return `${value > 0 ? '+' : ''}${formatFixed(value, decimals)}`;
}

export function formatPValue(value: number): string {
  return value < 0.001 ? '< 0.001' : formatFixed(value, 3);
}
