import type { SeriesStyle } from '../charts/series.ts';
import {
  SINGLE_WEIGHTS,
  drawWeightHistogram,
  drawWeightStrips,
  formatWeight,
  weightDomain,
} from '../charts/weights.ts';
import { formatFixed, formatInteger } from '../format.ts';
import { type Markup, markup } from '../markup.ts';
import { summarize } from '../statistics.ts';
import type { DemoReport, InitialWeight, MergeWeightGroup, VariantResult } from '../types.ts';
import { type FigureTable, renderFigureTable } from './table.ts';

const GRANULARITY: Readonly<Record<MergeWeightGroup['granularity'], string>> = {
  head: 'One scalar per head',
  column: 'One weight per head and output column',
  row: 'One weight per head and input row',
};

const MODULE: Readonly<Record<MergeWeightGroup['module'], string>> = {
  encoderSelf: 'enc',
  decoderSelf: 'self',
  decoderCross: 'cross',
};

/** Where the learned merge weights ended, per variant and per module. */
export function renderWeights(
  report: DemoReport,
  styles: ReadonlyMap<string, SeriesStyle>,
): Markup {
  const learned = report.variants.filter(({ mergeWeights = [] }) => mergeWeights.length > 0);
  const parts = learned.map((variant, index) => {
    const style = styles.get(variant.preset);
    return style === undefined
      ? undefined
      : renderVariant(variant, style, `weights-${String(index)}`);
  });
  const body = parts.length === 0 ? markup`<p>No variant learned merge weights.</p>` : parts;
  return markup`<section aria-labelledby="weights">
<h2 id="weights">Learned merge weights</h2>
<p>Each merged K or V head is a weighted sum of the heads of its group. A dashed line marks where
the weights started: with mean initialisation at mean pooling, so the distance from it is what was
learned.</p>
${body}
</section>`;
}

function renderVariant(variant: VariantResult, style: SeriesStyle, id: string): Markup {
  const groups = variant.mergeWeights ?? [];
  const values = groups.flatMap((group) => group.values);
  const initial = groups[0]?.initial ?? 'random';
  const granularity = groups[0]?.granularity ?? 'head';
  const options = { style, initial, domain: weightDomain(values, initial) };
  const rows = groups.map((group) => ({ name: nameOf(group), values: group.values }));
  const description = describe(values, initial);
  const isSpread = rows.some((row) => row.values.length > SINGLE_WEIGHTS);
  const all = drawWeightHistogram(values, {
    ...options,
    id: `${id}-histogram`,
    title: `Distribution of ${variant.preset}'s merge weights`,
    description,
  });
  const byModule = drawWeightStrips(rows, {
    ...options,
    id: `${id}-strips`,
    title: `${variant.preset}'s merge weights by layer, module and projection`,
    description: 'The figures are in the table below.',
  });
  return markup`<h3>${variant.preset}</h3>
<p>${GRANULARITY[granularity]}; ${description}</p>
<div class="pair">
<figure><figcaption>All weights</figcaption>${all}</figure>
<figure><figcaption>By layer, module and projection: ${
    isSpread ? 'range, quartiles and median' : 'each weight'
  }</figcaption>${byModule}</figure>
</div>
${renderFigureTable(`Merge weights of ${variant.preset} as a table`, tableOf(groups))}
`;
}

/** The distribution in a sentence. */
function describe(values: readonly number[], initial: InitialWeight): string {
  const { count, mean, standardDeviation, minimum, maximum } = summarize(values);
  const start = describeStart(initial);
  return (
    `${formatInteger(count)} weights, started at ${start}; mean ${formatFixed(mean, 4)}, ` +
    `standard deviation ${formatFixed(standardDeviation, 4)}, from ${formatFixed(minimum, 4)} ` +
    `to ${formatFixed(maximum, 4)}.`
  );
}

function describeStart(initial: InitialWeight): string {
  if (initial === 'random') return 'standard normal';
  return initial === 'least-squares' ? 'least squares' : formatWeight(initial);
}

function nameOf({ layer, module, projection }: MergeWeightGroup): string {
  return `${String(layer)} ${MODULE[module]} ${projection.toUpperCase()}`;
}

function tableOf(groups: readonly MergeWeightGroup[]): FigureTable {
  const rows = groups.map((group) => {
    const { count, mean, standardDeviation, minimum, median, maximum } = summarize(group.values);
    const figures = [mean, standardDeviation, minimum, median, maximum];
    return [nameOf(group), formatInteger(count), ...figures.map((value) => formatFixed(value, 4))];
  });
  const statistics = ['Mean', 'Std. dev.', 'Minimum', 'Median', 'Maximum'];
  return { headings: ['Layer, module, projection', 'Weights', ...statistics], rows };
}
