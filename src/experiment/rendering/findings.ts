/** The answer of a report, in sentences and rows that every rendering shares. */
import { formatFixed } from '../../report/format.ts';
import type { Comparison, DatasetReport, Estimate, VariantRow } from '../report-types.ts';

/** A learned merge and the mean-pooled variant with as many K/V heads and bytes. */
export interface Pair {
  readonly learned: VariantRow;
  readonly pooled: VariantRow;
}

interface Match extends Pair {
  /** learned − pooled. */
  readonly difference: Estimate;
  readonly adjustedPValue: number;
}

/** Every trained learned merge beside its mean-pooled counterpart. */
export function pairsOf({ rows }: DatasetReport): Pair[] {
  return rows.filter(isLearned).flatMap((learned) => {
    // Merged in other modules, as many heads keep other bytes: that would not be a fair pair.
    const pooled = rows.find(
      (row) =>
        isPooled(row) && row.kvHeads === learned.kvHeads && kvBytesOf(row) === kvBytesOf(learned),
    );
    return pooled ? [{ learned, pooled }] : [];
  });
}

/** Validation loss of the learned merge minus that of the mean, over seeds; NaN where one has none. */
export function gapAt({ learned, pooled }: Pair, step: number): number {
  const [loss, other] = [learned, pooled].map(({ curve }) => curve.find((p) => p.step === step));
  return (loss?.mean ?? NaN) - (other?.mean ?? NaN);
}

/** The pairs that were compared. */
function matchesOf(dataset: DatasetReport): Match[] {
  return pairsOf(dataset).flatMap((pair) => {
    const found = differenceOf(dataset.comparisons, pair.learned, pair.pooled);
    return found ? [{ ...pair, ...found }] : [];
  });
}

/** Per token, self- and cross-attention. */
export function kvBytesOf({ kvBytesPerToken }: VariantRow): number {
  return kvBytesPerToken.selfAttention + kvBytesPerToken.crossAttention;
}

function isLearned({ mergeParameters, trainedParameters }: VariantRow): boolean {
  return mergeParameters > 0 && trainedParameters > 0;
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

/** One sentence for the whole, then one per match. */
export function findingsOf(dataset: DatasetReport): string[] {
  const matches = matchesOf(dataset);
  if (matches.length === 0)
    return ['No learned merge and its mean-pooled counterpart are finished.'];
  return [headlineOf(matches), ...matches.map((match) => describeMatch(match, dataset))];
}

/** Below this a corrected p-value is said to stand. */
const LEVEL = 0.05;

function headlineOf(matches: readonly Match[]): string {
  const winners = matches.filter(({ difference }) => sideOfZero(difference) > 0);
  if (winners.length === 0)
    return 'No learned merge beats mean pooling at equal K/V bytes with the interval clear of zero.';
  const standing = winners.filter(({ adjustedPValue }) => adjustedPValue < LEVEL);
  return (
    `At equal K/V bytes these beat mean pooling with the interval clear of zero: ${listOf(winners)}. ` +
    `With p below ${LEVEL} after Holm: ${standing.length > 0 ? listOf(standing) : 'none of them'}.`
  );
}

function listOf(matches: readonly Match[]): string {
  return matches
    .map(({ learned, pooled }) => `${learned.variant} over ${pooled.variant}`)
    .join(', ');
}

function describeMatch(match: Match, dataset: DatasetReport): string {
  const { learned, pooled, difference, adjustedPValue } = match;
  return (
    `${learned.variant} − ${pooled.variant}: ${dataset.metric} ${formatDifference(difference)}, ` +
    `p ${formatPValue(adjustedPValue)} after Holm, ${commonSeeds(match)}: ${verdictOf(difference)}.`
  );
}

/** The bootstrap compares a pair on the seeds that both have. */
function commonSeeds({ learned, pooled }: Pair): string {
  const count = learned.seeds.filter((seed) => pooled.seeds.includes(seed)).length;
  if (count === 0) return 'no seed in common';
  return count === 1 ? '1 seed' : `${count} seeds`;
}

/** A curve is a mean over its variant's seeds: where those differ, so do the gap's two sides. */
export function gapNoteOf(dataset: DatasetReport): string {
  const unequal = pairsOf(dataset)
    .filter(({ learned, pooled }) => learned.seeds.join() !== pooled.seeds.join())
    .map(
      ({ learned, pooled }) =>
        `${learned.variant} (${learned.seeds.join(', ')}) − ${pooled.variant} (${pooled.seeds.join(', ')})`,
    );
  const meaning =
    'Validation loss of a learned merge minus that of its mean-pooled counterpart, from the first steps to the ' +
    'end; below zero the learned merge is ahead.';
  if (unequal.length === 0) return meaning;
  return `${meaning} Not of the same seeds, so the seeds' own differences are in it: ${unequal.join('; ')}.`;
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
