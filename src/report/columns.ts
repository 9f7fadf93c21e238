import {
  formatBytes,
  formatCount,
  formatFixed,
  formatInteger,
  formatPercent,
  formatScore,
} from './format.ts';
import type { DemoReport, VariantResult } from './types.ts';

/** One column of the comparison, the same in HTML, Markdown and on the terminal. */
export interface Column {
  readonly heading: string;
  /** In text tables, where `heading` is too wide for a terminal. */
  readonly shortHeading?: string;
  /** What the column means, for readers of the page. */
  readonly description: string;
  readonly align: 'left' | 'right';
  format(variant: VariantResult): string;
  /** A remark on the figure relative to the baseline, such as `25%`. */
  compare?(variant: VariantResult, baseline: VariantResult): string;
  /** The figure in which variants compete; absent where none is better than another. */
  readonly rank?: { value(variant: VariantResult): number; readonly better: 'lower' | 'higher' };
}

export const COLUMNS: readonly Column[] = [
  {
    heading: 'Variant',
    description: 'Name in Table 1 of arXiv 2407.10855',
    align: 'left',
    format: (variant) => variant.preset,
  },
  {
    heading: 'K/V heads',
    shortHeading: 'Heads',
    description: 'K/V heads of query heads, per converted attention module',
    align: 'right',
    format: (variant) => `${String(variant.kvHeads)}/${String(variant.heads)}`,
  },
  {
    heading: 'Loss',
    description: 'Mean loss per target token on held-out pairs, in nats; lower is better',
    align: 'right',
    format: (variant) => formatFixed(variant.evaluation.loss, 4),
    compare: (variant, baseline) =>
      difference(variant.evaluation.loss - baseline.evaluation.loss, 4),
    rank: { value: (variant) => variant.evaluation.loss, better: 'lower' },
  },
  rougeColumn('ROUGE-1', 'rouge1'),
  rougeColumn('ROUGE-2', 'rouge2'),
  rougeColumn('ROUGE-L', 'rougeL'),
  {
    heading: 'Self K/V',
    description: 'Bytes of K and V kept for each generated token, over all decoder layers',
    align: 'right',
    format: (variant) => formatBytes(variant.kvBytesPerToken.selfAttention),
    compare: (variant, baseline) =>
      formatPercent(variant.kvBytesPerToken.selfAttention / baseline.kvBytesPerToken.selfAttention),
  },
  {
    heading: 'Cross K/V',
    description:
      'Bytes of cross-attention K and V kept for each source token, over all decoder layers',
    align: 'right',
    format: (variant) => formatBytes(variant.kvBytesPerToken.crossAttention),
    compare: (variant, baseline) =>
      formatPercent(
        variant.kvBytesPerToken.crossAttention / baseline.kvBytesPerToken.crossAttention,
      ),
  },
  {
    heading: 'Tokens/s',
    shortHeading: 'Tok/s',
    description: 'Generated tokens per second of wall time, over the evaluation set',
    align: 'right',
    format: (variant) => formatCount(variant.tokensPerSecond),
    compare: (variant, baseline) =>
      `${formatFixed(variant.tokensPerSecond / baseline.tokensPerSecond, 2)}×`,
    rank: { value: (variant) => variant.tokensPerSecond, better: 'higher' },
  },
  {
    heading: 'Parameters',
    shortHeading: 'Params',
    description: 'After folding: what is deployed',
    align: 'right',
    format: (variant) => formatCount(variant.parameters),
    compare: (variant, baseline) => formatPercent(variant.parameters / baseline.parameters),
  },
  {
    heading: 'Merge weights',
    shortHeading: 'Merge',
    description: 'Extra parameters while training; folding removes them',
    align: 'right',
    format: (variant) => formatInteger(variant.mergeParameters),
  },
];

/** The variant the others are compared with. */
export function baselineOf(report: DemoReport): VariantResult | undefined {
  return report.variants.find((variant) => variant.preset === report.baseline);
}

/** The best figure of a column, or `undefined` if it is not ranked or fewer than two compete. */
export function bestOf(column: Column, variants: readonly VariantResult[]): number | undefined {
  const { rank } = column;
  if (rank === undefined) return undefined;
  const values = variants.map((variant) => rank.value(variant)).filter(Number.isFinite);
  if (values.length < 2) return undefined;
  return rank.better === 'lower' ? Math.min(...values) : Math.max(...values);
}

function rougeColumn(heading: string, key: 'rouge1' | 'rouge2' | 'rougeL'): Column {
  return {
    heading,
    shortHeading: heading.replace('ROUGE', 'R'),
    description: `${heading} F-measure times 100, Porter stemming; higher is better`,
    align: 'right',
    format: (variant) => formatScore(variant.evaluation[key]),
    compare: (variant, baseline) =>
      difference(100 * (variant.evaluation[key] - baseline.evaluation[key]), 2),
    rank: { value: (variant) => variant.evaluation[key], better: 'higher' },
  };
}

/** A signed difference: `+0.12`, `−0.30`, `0.00`. */
function difference(value: number, decimals: number): string {
  const text = formatFixed(value, decimals);
  return value > 0 && Number(text) !== 0 ? `+${text}` : text;
}
