import { baselineOf } from './columns.ts';
import { formatFixed, formatPercent } from './format.ts';
import type { DemoReport, VariantResult } from './types.ts';

/**
 * The report in sentences: what each learned merge gained over its mean-pooled counterpart with as
 * many K/V heads, and what the smallest cache cost. States figures either way; judges nothing.
 */
export function findingsOf(report: DemoReport): string[] {
  const pooled = report.variants.filter(
    (variant) => variant.mergeParameters === 0 && variant.kvHeads < variant.heads,
  );
  const gains = report.variants
    .filter((variant) => variant.mergeParameters > 0)
    .flatMap((variant) => {
      const counterpart = pooled.find(({ kvHeads }) => kvHeads === variant.kvHeads);
      return counterpart === undefined ? [] : [compareToCounterpart(variant, counterpart)];
    });
  const cost = costOfSmallestCache(report);
  return cost === undefined ? gains : [cost, ...gains];
}

function compareToCounterpart(variant: VariantResult, counterpart: VariantResult): string {
  const loss = variant.evaluation.loss - counterpart.evaluation.loss;
  const rouge = 100 * (variant.evaluation.rougeL - counterpart.evaluation.rougeL);
  return (
    `${variant.preset} against ${counterpart.preset}, same cache: loss ` +
    `${describeChange(loss, 4)}, ROUGE-L ${describeChange(rouge, 2)}.`
  );
}

function costOfSmallestCache(report: DemoReport): string | undefined {
  const baseline = baselineOf(report);
  const bytes = ({ kvBytesPerToken }: VariantResult): number =>
    kvBytesPerToken.selfAttention + kvBytesPerToken.crossAttention;
  const candidates = report.variants
    .filter((variant) => variant.preset !== report.baseline)
    .toSorted((a, b) => bytes(a) - bytes(b) || a.evaluation.loss - b.evaluation.loss);
  const smallest = candidates[0];
  if (baseline === undefined || smallest === undefined) return undefined;
  const rouge = 100 * (smallest.evaluation.rougeL - baseline.evaluation.rougeL);
  const share = formatPercent(bytes(smallest) / bytes(baseline));
  return (
    `Smallest cache: ${smallest.preset} keeps ${share} of ${baseline.preset}'s K/V bytes; ` +
    `ROUGE-L ${describeChange(rouge, 2)} against it.`
  );
}

/** `higher by 0.31`, `lower by 0.02`, or `unchanged` at the decimals shown. */
function describeChange(value: number, decimals: number): string {
  const text = formatFixed(Math.abs(value), decimals);
  if (Number(text) === 0) return 'unchanged';
  return `${value > 0 ? 'higher' : 'lower'} by ${text}`;
}
