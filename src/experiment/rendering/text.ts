/** A report as Markdown, and in short for a terminal. */
import { formatFixed, formatInteger } from '../../report/format.ts';
import { formatMarkdownTable, formatTable } from '../../report/index.ts';
import type { FigureTable } from '../../report/sections/table.ts';
import type { DatasetReport, ExperimentReport, Measure, Sample } from '../report-types.ts';
import { paperSource } from '../paper-results.ts';
import { decimalsOf, findingsOf, formatInterval, gapNoteOf, pairsOf } from './findings.ts';
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
  formatKvHeads,
} from './tables.ts';

/** The first lines of every rendering: what was done, and what is not there yet. */
export function introductionOf(report: ExperimentReport): string[] {
  const { base, missingRuns, settings, seeds } = report;
  const missing = `${missingRuns} planned ${missingRuns === 1 ? 'run is' : 'runs are'} not finished.`;
  return [
    ...(missingRuns > 0 ? [missing] : []),
    `Settings: ${settings}. ${base.name}: ${base.architecture}, ` +
      `${formatInteger(base.parameters)} parameters. ${report.training}. Decoding: ${report.decoding}. ` +
      `Seeds: ${seeds.join(', ')}.`,
  ];
}

export function describePairs(dataset: DatasetReport): string {
  const counts = [dataset.trainPairs, dataset.validationPairs, dataset.testPairs].map(
    formatInteger,
  );
  return `${dataset.description}: ${counts.join(' / ')} pairs for training, validation and test.`;
}

/** What the paper's column is, and its footnote. */
export function paperNoteOf({ paperColumn, metric }: DatasetReport): string | undefined {
  return paperColumn && `Paper: ${paperSource(paperColumn)}. Ours: ${metric}.`;
}

/** @throws never: what is missing shows as "–" */
export function formatExperimentMarkdown(report: ExperimentReport): string {
  const parts = [
    `# ${plain(report.title)}`,
    ...introductionOf(report).map(plain),
    '## Answer',
    ...report.datasets.flatMap((dataset) =>
      dataset.measures.flatMap((measure) => formatAnswer(dataset, measure)),
    ),
    ...report.datasets.flatMap(formatDataset),
    '## Method',
    report.notes.map((note) => `- ${note}`).join('\n'),
  ];
  return `${parts.join('\n\n')}\n`;
}

function formatAnswer(dataset: DatasetReport, measure: Measure): string[] {
  const [headline = '', ...details] = findingsOf(dataset, measure).map(plain);
  return [
    `**${plain(dataset.name)}, ${measure.metric}**: ${headline}`,
    ...(details.length > 0 ? [details.map((detail) => `- ${detail}`).join('\n')] : []),
  ];
}

function formatDataset(dataset: DatasetReport): string[] {
  const paper = paperNoteOf(dataset);
  return [
    `## ${plain(dataset.name)}`,
    plain(describePairs(dataset)),
    '### Results',
    markdownOf(resultsTable(dataset)),
    ...(paper === undefined ? [] : [paper]),
    ...dataset.measures.flatMap((measure) => formatComparisons(dataset, measure)),
    '### Validation loss by step',
    markdownOf(curvesTable(dataset)),
    ...(pairsOf(dataset).length > 0
      ? ['### Gap to the mean by step', plain(gapNoteOf(dataset)), markdownOf(gapTable(dataset))]
      : []),
    ...(dataset.weights.length > 0 ? formatMovement(dataset) : []),
    '### Every run',
    markdownOf(runsTable(dataset)),
    ...(dataset.samples.length > 0 ? ['### Samples', ...dataset.samples.map(formatSample)] : []),
  ];
}

function formatComparisons(dataset: DatasetReport, measure: Measure): string[] {
  return [
    `### Each variant and the mean: ${measure.metric}`,
    markdownOf(plannedComparisonsTable(dataset, measure)),
    `### Comparisons at equal K/V bytes: ${measure.metric}`,
    markdownOf(equalComparisonsTable(measure)),
    `### Comparisons across K/V bytes: ${measure.metric}`,
    markdownOf(otherComparisonsTable(measure)),
  ];
}

function formatMovement(dataset: DatasetReport): string[] {
  return [
    '### Movement of merge weights',
    markdownOf(movementTable(dataset)),
    '### Layer by layer',
    markdownOf(layersTable(dataset)),
    '### Distribution of merge weights',
    markdownOf(distributionTable(dataset)),
  ];
}

function formatSample({ source, reference, outputs }: Sample): string {
  const rows = [['reference', reference], ...outputs.map(({ variant, text }) => [variant, text])];
  const columns = [{ heading: '' }, { heading: 'text' }];
  const table = formatMarkdownTable(
    columns,
    rows.map((row) => row.map(plain)),
  );
  return `> ${plain(source)}\n\n${table}`;
}

/** What Markdown or HTML could take for its own: not a lone `<`, `&` or an underscore within a word. */
const MEANINGFUL =
  /[*`[\]|\\~]|&(?=[#\p{L}])|<(?=[\p{L}/!?])|(?<![\p{L}\p{N}])_|_(?![\p{L}\p{N}])/gu;

/** Text as one line that Markdown shows as it is. Entities, since a backslash in a table is escaped again. */
function plain(text: string): string {
  return text
    .replaceAll(/\s+/g, ' ')
    .replaceAll(MEANINGFUL, (character) => `&#${character.charCodeAt(0)};`);
}

function markdownOf({ headings, rows }: FigureTable): string {
  return formatMarkdownTable(
    columnsOf(headings.map(plain)),
    rows.map((row) => row.map(plain)),
  );
}

/** The first column is a name. */
function columnsOf(headings: readonly string[]) {
  return headings.map((heading, index) => ({
    heading,
    align: index === 0 ? ('left' as const) : ('right' as const),
  }));
}

/** Scores and the answer. */
export function formatExperimentTable(report: ExperimentReport): string {
  const datasets = report.datasets.flatMap((dataset) => [
    '',
    describePairs(dataset),
    '',
    formatTable(
      columnsOf(['variant', dataset.metric, '95 % interval', 'seeds', 'K/V heads']),
      dataset.rows.map((row) => [
        row.variant,
        formatFixed(row.score.mean, decimalsOf(dataset.metric)),
        formatInterval(row.score, dataset.metric),
        String(row.seeds.length),
        formatKvHeads(row),
      ]),
    ),
    ...dataset.measures.flatMap((measure) => ['', ...findingsOf(dataset, measure)]),
  ]);
  return [report.title, ...introductionOf(report), ...datasets].join('\n');
}
