/** A report as Markdown, and in short for a terminal. */
import { formatFixed, formatInteger } from '../../report/format.ts';
import { formatMarkdownTable, formatTable } from '../../report/index.ts';
import type { FigureTable } from '../../report/sections/table.ts';
import type { DatasetReport, ExperimentReport, Sample } from '../report-types.ts';
import { findingsOf } from './findings.ts';
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

/** The first lines of every rendering: what was done, and what is not there yet. */
export function introductionOf(report: ExperimentReport): string[] {
  const { base, missingRuns, settings } = report;
  const missing = `${missingRuns} planned ${missingRuns === 1 ? 'run is' : 'runs are'} not finished.`;
  return [
    ...(missingRuns > 0 ? [missing] : []),
    `Settings: ${settings}. ${base.name}: ${base.architecture}, ` +
      `${formatInteger(base.parameters)} parameters. ${report.training}. Decoding: ${report.decoding}.`,
  ];
}

export function describePairs(dataset: DatasetReport): string {
  const counts = [dataset.trainPairs, dataset.validationPairs, dataset.testPairs].map(
    formatInteger,
  );
  return `${dataset.description}: ${counts.join(' / ')} pairs for training, validation and test.`;
}

/** @throws never: what is missing shows as "–" */
export function formatExperimentMarkdown(report: ExperimentReport): string {
  const parts = [
    `# ${report.title}`,
    ...introductionOf(report),
    ...report.datasets.flatMap(formatDataset),
    '## Method',
    report.notes.map((note) => `- ${note}`).join('\n'),
  ];
  return `${parts.join('\n\n')}\n`;
}

function formatDataset(dataset: DatasetReport): string[] {
  const learned = hasLearned(dataset);
  return [
    `## ${dataset.name}`,
    describePairs(dataset),
    findingsOf(dataset)
      .map((finding) => `- ${finding}`)
      .join('\n'),
    '### Results',
    markdownOf(resultsTable(dataset)),
    '### Comparisons',
    markdownOf(comparisonsTable(dataset)),
    '### Validation loss by step',
    markdownOf(curvesTable(dataset)),
    ...(learned ? ['### Gap to the mean by step', markdownOf(gapTable(dataset))] : []),
    ...(learned ? ['### Movement of merge weights', markdownOf(movementTable(dataset))] : []),
    ...(learned ? ['### Layer by layer', markdownOf(layersTable(dataset))] : []),
    '### Every run',
    markdownOf(runsTable(dataset)),
    ...(dataset.samples.length > 0 ? ['### Samples', ...dataset.samples.map(formatSample)] : []),
  ];
}

function formatSample({ source, reference, outputs }: Sample): string {
  const rows = [['reference', reference], ...outputs.map(({ variant, text }) => [variant, text])];
  const table = formatMarkdownTable([{ heading: '' }, { heading: 'text' }], rows);
  return `> ${source.replaceAll(/\s+/g, ' ').replaceAll(/[<>&`*_[\]\\|]/g, String.raw`\$&`)}\n\n${table}`;
}

function markdownOf({ headings, rows }: FigureTable): string {
  return formatMarkdownTable(columnsOf(headings), rows);
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
      dataset.rows.map(({ variant, score, seeds, kvHeads }) => [
        variant,
        formatFixed(score.mean, 2),
        `${formatFixed(score.low, 2)} to ${formatFixed(score.high, 2)}`,
        String(seeds.length),
        String(kvHeads),
      ]),
    ),
    '',
    ...findingsOf(dataset),
  ]);
  return [report.title, ...introductionOf(report), ...datasets].join('\n');
}
