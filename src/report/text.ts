import { COLUMNS, baselineOf, bestOf } from './columns.ts';
import type { DemoReport } from './types.ts';

export interface TextColumn {
  readonly heading: string;
  /** Default `'left'`. */
  readonly align?: 'left' | 'right';
}

/**
 * A plain table for a terminal: columns two spaces apart, a rule below the headings, no trailing
 * spaces. Rows shorter than `columns` are filled with empty cells.
 */
export function formatTable(
  columns: readonly TextColumn[],
  rows: readonly (readonly string[])[],
): string {
  const cells = [columns.map((column) => column.heading), ...rows];
  const widths = columns.map((_, index) =>
    cells.reduce((widest, row) => Math.max(widest, lengthOf(row[index] ?? '')), 0),
  );
  const lines = cells.map((row) =>
    columns.map((column, index) => pad(row[index] ?? '', widths[index] ?? 0, column.align)),
  );
  const rule = widths.map((width) => '─'.repeat(width));
  return [lines[0] ?? [], rule, ...lines.slice(1)]
    .map((line) => line.join('  ').trimEnd())
    .join('\n');
}

/** A table in GitHub's Markdown, padded so that the source reads as a table too. */
export function formatMarkdownTable(
  columns: readonly TextColumn[],
  rows: readonly (readonly string[])[],
): string {
  const cells = [columns.map((column) => column.heading), ...rows].map((row) =>
    columns.map((_, index) => escapeMarkdown(row[index] ?? '')),
  );
  const widths = columns.map((_, index) =>
    cells.reduce((widest, row) => Math.max(widest, lengthOf(row[index] ?? '')), 3),
  );
  const rule = columns.map(({ align }, index) => {
    const dashes = '-'.repeat((widths[index] ?? 3) - (align === 'right' ? 1 : 0));
    return align === 'right' ? `${dashes}:` : dashes;
  });
  const lines = cells.map((row) =>
    columns.map((column, index) => pad(row[index] ?? '', widths[index] ?? 0, column.align)),
  );
  return [lines[0] ?? [], rule, ...lines.slice(1)]
    .map((line) => `| ${line.join(' | ')} |`)
    .join('\n');
}

/**
 * The comparison of a report's variants for the terminal; `*` marks the best of a column. K/V
 * figures are bytes per token; what follows them and the parameters is the share of the baseline's.
 */
export function formatReportTable(report: DemoReport): string {
  const columns = COLUMNS.map(({ heading, shortHeading = heading, align }) => ({
    heading: shortHeading,
    align,
  }));
  return formatTable(
    columns,
    comparisonRows(report, (text) => `*${text}`),
  );
}

/** The comparison of a report's variants in Markdown; the best of a column is bold. */
export function formatReportMarkdown(report: DemoReport): string {
  return formatMarkdownTable(
    COLUMNS,
    comparisonRows(report, (text) => `**${text}**`),
  );
}

function comparisonRows(report: DemoReport, mark: (text: string) => string): string[][] {
  const baseline = baselineOf(report);
  const best = COLUMNS.map((column) => bestOf(column, report.variants));
  return report.variants.map((variant) =>
    COLUMNS.map((column, index) => {
      const text = column.format(variant);
      if (column.rank !== undefined) {
        return column.rank.value(variant) === best[index] ? mark(text) : text;
      }
      if (baseline === undefined || baseline === variant) return text;
      const share = column.compare?.(variant, baseline);
      return share === undefined ? text : `${text} ${share}`;
    }),
  );
}

function pad(text: string, width: number, align: 'left' | 'right' = 'left'): string {
  const spaces = ' '.repeat(Math.max(0, width - lengthOf(text)));
  return align === 'right' ? spaces + text : text + spaces;
}

/** Characters, not UTF-16 units. */
function lengthOf(text: string): number {
  return Array.from(text).length;
}

function escapeMarkdown(text: string): string {
  return text.replace(/[\\|]/g, '\\$&').replace(/\s*\n\s*/g, ' ');
}
