/** The same benchmark under several instruction sets: a row per case, a column for each. */
import { type Markup, markup } from '../report/markup.ts';
import type { Measurement } from './measurement.ts';
import type { Result } from './results.ts';
import { formatShare, formatSpread } from './table.ts';

interface SideBySide {
  readonly benchmark: string;
  readonly title: string;
  readonly columns: readonly string[];
  readonly rows: readonly { readonly name: string; readonly cells: readonly string[] }[];
}

/** Of each benchmark that there are several results of. */
export function sideBySide(results: readonly Result[]): SideBySide[] {
  return [...new Set(results.map(({ benchmark }) => benchmark))].flatMap((benchmark) => {
    const own = results.filter((result) => result.benchmark === benchmark);
    const [first] = own;
    return first === undefined || own.length < 2 ? [] : [tableOf(benchmark, first.title, own)];
  });
}

function tableOf(benchmark: string, title: string, results: readonly Result[]): SideBySide {
  // A limit's name says which figures it is compared with: one case may have several.
  const nameOf = ({ name, limitName }: Measurement): string => `${name}, of ${limitName}`;
  const columns = results.map((result) => ({
    heading: result.limit ?? unlimited(result),
    cells: new Map(result.measurements.map((one) => [nameOf(one), formatCell(one)])),
  }));
  const names = new Set(columns.flatMap(({ cells }) => [...cells.keys()]));
  return {
    benchmark,
    title,
    columns: columns.map(({ heading }) => heading),
    rows: [...names].map((name) => {
      return { name, cells: columns.map(({ cells }) => cells.get(name) ?? '') };
    }),
  };
}

function unlimited({ device: { isa } }: Result): string {
  return isa === undefined ? 'all of the processor' : `all of the processor (${isa})`;
}

function formatCell(measurement: Measurement): string {
  return formatShare(measurement) + formatSpread(measurement);
}

/** As Markdown, for the documents. */
export function formatSideBySide(results: readonly Result[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |\n`;
  return sideBySide(results)
    .map(({ title, columns, rows }) => {
      const body = rows.map(({ name, cells }) => line([name, ...cells]));
      const rule = line(['---', ...columns.map(() => '---')]);
      return line([title, ...columns]) + rule + body.join('');
    })
    .join('\n');
}

export function renderSideBySide(results: readonly Result[]): Markup[] {
  return sideBySide(results).map(({ benchmark, title, columns, rows }) => {
    const heads = columns.map((column) => markup`<th scope="col" class="right">${column}</th>`);
    const body = rows.map(({ name, cells }) => {
      const figures = cells.map((cell) => markup`<td class="right">${cell}</td>`);
      return markup`<tr><th scope="row">${name}</th>${figures}</tr>
`;
    });
    return markup`<section aria-labelledby="${benchmark}-isa">
<h2 id="${benchmark}-isa">${title}, by instruction set</h2>
<div class="scroll"><table class="figures">
<thead><tr><th scope="col">what</th>${heads}</tr></thead>
<tbody>
${body}</tbody></table></div></section>
`;
  });
}
