/** A report as one self-contained page: no script, no network, everything of the report escaped. */
import { assignStyles } from '../../report/charts/series.ts';
import { renderDocument } from '../../report/document.ts';
import { formatTimestamp } from '../../report/format.ts';
import { type Markup, markup } from '../../report/markup.ts';
import { renderSample } from '../../report/sections/samples.ts';
import { renderFigureTable, renderTable } from '../../report/sections/table.ts';
import type { DatasetReport, ExperimentReport, Measure } from '../report-types.ts';
import {
  renderCurveCharts,
  renderGapCharts,
  renderHistograms,
  renderLayerSpreads,
  renderMovementCharts,
  renderQuality,
  type Styles,
} from './charts.ts';
import { findingsOf, gapNoteOf, pairsOf } from './findings.ts';
import {
  curvesTable,
  distributionTable,
  equalComparisonsTable,
  gapTable,
  layersTable,
  movementTable,
  otherComparisonsTable,
  plannedComparisonsTable,
  resultsTable,
  runsTable,
} from './tables.ts';
import { describePairs, introductionOf, paperNoteOf } from './text.ts';

export function renderExperimentHtml(report: ExperimentReport): string {
  return renderDocument({
    title: report.title,
    generator: `wgqa ${report.version}`,
    header: markup`<h1>${report.title}</h1>
${introductionOf(report).map((line) => markup`<p>${line}</p>\n`)}
<p class="muted"><time datetime="${report.createdAt}">${formatTimestamp(report.createdAt)}</time></p>`,
    main: markup`<section aria-labelledby="answer">
<h2 id="answer">Answer</h2>
${report.datasets.flatMap((dataset) => dataset.measures.map((measure) => renderAnswer(dataset, measure)))}
</section>
${report.datasets.map(renderDataset)}
<section aria-labelledby="method">
<h2 id="method">Method</h2>
<ul>${report.notes.map((note) => markup`<li>${note}</li>\n`)}</ul>
</section>`,
  });
}

function renderAnswer(dataset: DatasetReport, measure: Measure): Markup {
  const [headline, ...details] = findingsOf(dataset, measure);
  return markup`<p><strong>${dataset.name}, ${measure.metric}</strong>: ${headline}</p>
<ul class="findings">${details.map((text) => markup`<li>${text}</li>\n`)}</ul>
`;
}

function renderDataset(dataset: DatasetReport, index: number): Markup {
  const names = dataset.rows.map(({ variant }) => variant);
  const styles = assignStyles(names, names.includes('MHA') ? 'MHA' : (names[0] ?? ''));
  const id = `data-${index}`;
  const paper = paperNoteOf(dataset);
  return markup`<section aria-labelledby="${id}">
<h2 id="${id}">${dataset.name}</h2>
<p class="muted">${describePairs(dataset)}</p>
${renderTable(resultsTable(dataset))}
${paper && markup`<p class="muted">${paper}</p>`}
${renderQuality(dataset, styles, id)}
${dataset.measures.map((measure) => renderComparisons(dataset, measure))}
${renderFigureTable('Every run', runsTable(dataset))}
${renderCurves(dataset, styles, id)}
${renderMovement(dataset, styles, id)}
${renderSamples(dataset)}
</section>`;
}

function renderComparisons(dataset: DatasetReport, measure: Measure): Markup {
  const { metric } = measure;
  return markup`<h3>Each variant and the mean: ${metric}</h3>
${renderTable(plannedComparisonsTable(dataset, measure))}
${renderFigureTable(`Comparisons at equal K/V bytes: ${metric}`, equalComparisonsTable(measure))}
${renderFigureTable(`Comparisons across K/V bytes: ${metric}`, otherComparisonsTable(measure))}`;
}

function renderCurves(dataset: DatasetReport, styles: Styles, id: string): Markup {
  return markup`<h3>Learning curves</h3>
${renderCurveCharts(dataset, styles, id)}
${renderFigureTable('Validation loss as a table: mean (lowest to highest seed)', curvesTable(dataset))}
${pairsOf(dataset).length > 0 ? renderGap(dataset, styles, id) : undefined}`;
}

function renderGap(dataset: DatasetReport, styles: Styles, id: string): Markup {
  return markup`<h3>Gap to the mean</h3>
<p>${gapNoteOf(dataset)}</p>
${renderGapCharts(dataset, styles, id)}
${renderTable(gapTable(dataset))}`;
}

/** The paper's Figure 2. */
function renderMovement(dataset: DatasetReport, styles: Styles, id: string): Markup {
  if (dataset.weights.length === 0) return markup``;
  return markup`<h3>Merge weights</h3>
<p>The t-tests are of the paper: they say that weights moved, not that scores differ.</p>
${renderTable(movementTable(dataset))}
${renderMovementCharts(dataset, styles, id)}
${renderFigureTable('Layer by layer', layersTable(dataset))}
${renderLayerSpreads(dataset, id)}
${renderHistograms(dataset, styles, id)}
${renderFigureTable('Distribution of the learned weights', distributionTable(dataset))}`;
}

function renderSamples({ samples }: DatasetReport): Markup {
  if (samples.length === 0) return markup``;
  const articles = samples.map(({ outputs, ...sample }, index) =>
    renderSample(
      { ...sample, outputs: outputs.map(({ variant, text }) => ({ preset: variant, text })) },
      index,
    ),
  );
  return markup`<h3>Samples</h3>
<p>The first test pairs, outputs of the first seed.</p>
${articles}`;
}
