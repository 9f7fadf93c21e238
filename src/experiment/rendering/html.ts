/** A report as one self-contained page: no script, no network, everything of the report escaped. */
import { drawLines } from '../../report/charts/lines.ts';
import { drawScatter } from '../../report/charts/scatter.ts';
import { assignStyles, drawLegend, type SeriesStyle } from '../../report/charts/series.ts';
import { renderDocument } from '../../report/document.ts';
import { formatFixed, formatTimestamp } from '../../report/format.ts';
import { type Markup, markup } from '../../report/markup.ts';
import { renderSample } from '../../report/sections/samples.ts';
import { renderFigureTable, renderTable, type FigureTable } from '../../report/sections/table.ts';
import type { DatasetReport, ExperimentReport, Sample } from '../report-types.ts';
import { findingsOf, matchesOf } from './findings.ts';
import {
  comparisonsTable,
  curvesTable,
  gapTable,
  hasLearned,
  layersTable,
  movementTable,
  resultsTable,
  runsTable,
} from './tables.ts';
import { describePairs, introductionOf } from './text.ts';

type Styles = ReadonlyMap<string, SeriesStyle>;

export function renderExperimentHtml(report: ExperimentReport): string {
  return renderDocument({
    title: report.title,
    generator: `wgqa ${report.version}`,
    header: markup`<h1>${report.title}</h1>
${introductionOf(report).map((line) => markup`<p>${line}</p>\n`)}
<p class="muted"><time datetime="${report.createdAt}">${formatTimestamp(report.createdAt)}</time></p>`,
    main: markup`${report.datasets.map(renderDataset)}
<section><h2>Method</h2>
<ul>${report.notes.map((note) => markup`<li>${note}</li>\n`)}</ul>
</section>`,
  });
}

function renderDataset(dataset: DatasetReport, index: number): Markup {
  const names = dataset.rows.map(({ variant }) => variant);
  const styles = assignStyles(names, names.includes('MHA') ? 'MHA' : (names[0] ?? ''));
  const id = `data-${index}`;
  return markup`<section>
<h2>${dataset.name}</h2>
<p class="muted">${describePairs(dataset)}</p>
<ul class="findings">${findingsOf(dataset).map((text) => markup`<li>${text}</li>\n`)}</ul>
${renderTable(resultsTable(dataset))}
${renderQuality(dataset, styles, id)}
${renderFigureTable('Every pair of variants', comparisonsTable(dataset))}
${renderFigureTable('Every run', runsTable(dataset))}
</section>
${renderCurves(dataset, styles, id)}
${renderMovement(dataset, styles, id)}
${renderSamples(dataset.samples)}`;
}

/** The Pareto picture. */
function renderQuality({ rows, metric }: DatasetReport, styles: Styles, id: string): Markup {
  const points = rows.flatMap(({ variant, score, kvBytesPerToken }) => {
    const style = styles.get(variant);
    const bytes = kvBytesPerToken.selfAttention + kvBytesPerToken.crossAttention;
    const interval = [score.low, score.high] as const;
    return style ? [{ name: variant, style, x: bytes / 1024, y: score.mean, interval }] : [];
  });
  if (points.length === 0) return markup``;
  const chart = drawScatter(points, {
    id: `${id}-quality`,
    title: `${metric} against K/V bytes`,
    description:
      'One point per variant with its 95 % interval; the figures are in the table above.',
    xTitle: 'KiB of K and V per token, self- and cross-attention',
    yTitle: metric,
  });
  return markup`<figure><figcaption>Quality against cache size. Up and to the left is better.</figcaption>
${chart}</figure>`;
}

const BY_STEP = { xTitle: 'optimiser step', yTitle: 'nats per token' } as const;

function renderCurves(dataset: DatasetReport, styles: Styles, id: string): Markup {
  const curves = dataset.rows.filter(({ curve }) => curve.length > 1);
  if (curves.length === 0) return markup``;
  const lines = curves.map(({ variant, curve }) => ({
    name: variant,
    points: curve.map(({ step, mean }) => ({ x: step, y: mean })),
  }));
  return markup`<section><h2>Learning curves</h2>
${renderLines(lines, styles, { ...BY_STEP, id: `${id}-curves`, title: 'Validation loss' })}
${renderFigureTable('Validation loss as a table, ± half the range over seeds', curvesTable(dataset))}
${hasLearned(dataset) ? renderGap(dataset, styles, id) : undefined}
</section>`;
}

function renderGap(dataset: DatasetReport, styles: Styles, id: string): Markup {
  const lines = matchesOf(dataset).map(({ learned, pooled }) => ({
    name: learned.variant,
    points: learned.curve.flatMap(({ step, mean }) => {
      const other = pooled.curve.find((point) => point.step === step);
      return other ? [{ x: step, y: mean - other.mean }] : [];
    }),
  }));
  const text = { ...BY_STEP, id: `${id}-gap`, title: 'Validation loss minus that of the mean' };
  return markup`${renderLines(lines, styles, text)}
${renderFigureTable('The gap as a table', gapTable(dataset))}`;
}

interface NamedLine {
  readonly name: string;
  readonly points: readonly { readonly x: number; readonly y: number }[];
}

interface LineText {
  readonly id: string;
  readonly title: string;
  readonly xTitle: string;
  readonly yTitle: string;
}

/** A legend and a chart; nothing where no line has a point. */
function renderLines(lines: readonly NamedLine[], styles: Styles, text: LineText): Markup {
  const drawn = lines.flatMap((line) => {
    const style = styles.get(line.name);
    return style && line.points.length > 0 ? [{ ...line, style }] : [];
  });
  if (drawn.length === 0) return markup``;
  const legend = drawLegend(
    drawn.map(({ name, style, points }) => ({
      name,
      style,
      note: formatFixed(points.at(-1)?.y ?? NaN, 3),
    })),
  );
  const chart = drawLines(drawn, {
    ...text,
    description: 'One line per variant; the figures are in the table below.',
    scale: 'linear',
    markers: true,
  });
  return markup`${legend}
<figure><figcaption>${text.title}, mean over seeds. Beside each name, the last value.</figcaption>
${chart}</figure>`;
}

/** The paper's Figure 2. */
function renderMovement(dataset: DatasetReport, styles: Styles, id: string): Markup {
  if (dataset.weights.length === 0) return markup``;
  const lines = dataset.rows.map(({ variant }) => ({
    name: variant,
    points: layerMeans(dataset, variant),
  }));
  const text = {
    id: `${id}-weights`,
    title: 'Mean distance of merge weights from their start',
    xTitle: 'decoder layer, from 0',
    yTitle: 'mean |w − start|',
  };
  return markup`<section><h2>Merge weights</h2>
<p>The t-tests are of the paper: they say that weights moved, not that scores differ.</p>
${renderTable(movementTable(dataset))}
${renderLines(lines, styles, text)}
${renderFigureTable('Layer by layer', layersTable(dataset))}
${renderFigureTable('Distribution of the learned weights', distributionTable(dataset))}
</section>`;
}

/** Over modules and projections of a layer, weighted by their number of weights. */
function layerMeans({ weights }: DatasetReport, variant: string) {
  const sums = new Map<number, { sum: number; count: number }>();
  for (const { variant: name, layer, count, meanAbsoluteDifference } of weights) {
    if (name !== variant || layer === undefined) continue;
    const { sum, count: before } = sums.get(layer) ?? { sum: 0, count: 0 };
    sums.set(layer, { sum: sum + count * meanAbsoluteDifference, count: before + count });
  }
  return [...sums].map(([x, { sum, count }]) => ({ x, y: sum / count })).sort((a, b) => a.x - b.x);
}

function distributionTable({ weights }: DatasetReport): FigureTable {
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

function renderSamples(samples: readonly Sample[]): Markup {
  if (samples.length === 0) return markup``;
  const articles = samples.map(({ outputs, ...sample }, index) =>
    renderSample(
      { ...sample, outputs: outputs.map(({ variant, text }) => ({ preset: variant, text })) },
      index,
    ),
  );
  return markup`<section><h2>Samples</h2>
<p>The first test pairs, outputs of the first seed.</p>
${articles}
</section>`;
}
