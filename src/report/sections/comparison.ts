import { drawScatter } from '../charts/scatter.ts';
import type { SeriesStyle } from '../charts/series.ts';
import { COLUMNS, type Column, baselineOf, bestOf } from '../columns.ts';
import { findingsOf } from '../findings.ts';
import { type Markup, markup } from '../markup.ts';
import type { DemoReport, VariantResult } from '../types.ts';

/** The table of variants, the same as a picture, and what it says in sentences. */
export function renderComparison(
  report: DemoReport,
  styles: ReadonlyMap<string, SeriesStyle>,
): Markup {
  const findings = findingsOf(report).map((finding) => markup`<li>${finding}</li>\n`);
  return markup`<section aria-labelledby="comparison">
<h2 id="comparison">Comparison</h2>
<p>K/V figures are bytes per token. Small figures compare with ${report.baseline}; the best of each
ranked column is marked. Each variant was trained once, with one seed, so small differences may be
chance.</p>
<div class="scroll">${renderTable(report, styles)}</div>
<details><summary>What the columns mean</summary>
<dl>${COLUMNS.map(
    ({ heading, description }) => markup`<dt>${heading}</dt><dd>${description}</dd>
`,
  )}</dl></details>
<ul class="findings">${findings}</ul>
<figure><figcaption>Quality against cache size. Up and to the left is better.</figcaption>
${renderScatter(report, styles)}</figure>
</section>`;
}

function renderTable(report: DemoReport, styles: ReadonlyMap<string, SeriesStyle>): Markup {
  const baseline = baselineOf(report);
  const best = COLUMNS.map((column) => bestOf(column, report.variants));
  const headings = COLUMNS.map(
    ({ heading, align }) => markup`<th scope="col" class="${align}">${heading}</th>`,
  );
  const rows = report.variants.map((variant) => {
    const cells = COLUMNS.slice(1).map((column, index) =>
      renderCell(column, variant, baseline, best[index + 1]),
    );
    const className = styles.get(variant.preset)?.className;
    const name = markup`<span class="key ${className}"></span>${variant.preset}`;
    return markup`<tr><th scope="row">${name}</th>${cells}</tr>
`;
  });
  return markup`<table class="comparison">
<thead><tr>${headings}</tr></thead>
<tbody>
${rows}</tbody></table>`;
}

function renderCell(
  column: Column,
  variant: VariantResult,
  baseline: VariantResult | undefined,
  best: number | undefined,
): Markup {
  const isBest = best !== undefined && column.rank?.value(variant) === best;
  const isBaseline = baseline === undefined || baseline === variant;
  const note = isBaseline ? undefined : column.compare?.(variant, baseline);
  const small = note === undefined ? undefined : markup`<small>${note}</small>`;
  const className = `${column.align}${isBest ? ' best' : ''}`;
  return markup`<td class="${className}">${column.format(variant)}${small}</td>`;
}

function renderScatter(report: DemoReport, styles: ReadonlyMap<string, SeriesStyle>): Markup {
  const points = report.variants.flatMap((variant) => {
    const style = styles.get(variant.preset);
    const { selfAttention, crossAttention } = variant.kvBytesPerToken;
    const point = {
      x: (selfAttention + crossAttention) / 1024,
      y: 100 * variant.evaluation.rougeL,
    };
    return style === undefined ? [] : [{ name: variant.preset, style, ...point }];
  });
  return drawScatter(points, {
    id: 'quality-cache',
    title: 'ROUGE-L against K/V cache per token',
    description:
      'One point per variant; the figures are in the columns ROUGE-L, Self K/V and Cross K/V of ' +
      'the table above.',
    xTitle: 'K/V cache, KiB per target token plus per source token',
    yTitle: 'ROUGE-L',
  });
}
