import { type Markup, markup } from '../markup.ts';

/** A table of figures: the first column names the row, the others are right-aligned. */
export interface FigureTable {
  readonly headings: readonly string[];
  readonly rows: readonly (readonly string[])[];
  readonly caption?: string;
}

/** A table behind a summary line: the figures of a chart, for readers who cannot see it. */
export function renderFigureTable(summary: string, table: FigureTable): Markup {
  return markup`<details><summary>${summary}</summary>
${renderTable(table)}
</details>`;
}

/** The table itself, which scrolls where it is wider than the page. */
export function renderTable(table: FigureTable): Markup {
  const [first, ...others] = table.headings;
  const headings = others.map((text) => markup`<th scope="col" class="right">${text}</th>`);
  const caption = table.caption && markup`<caption class="muted">${table.caption}</caption>`;
  const rows = table.rows.map(([name, ...figures]) => {
    const cells = figures.map((text) => markup`<td class="right">${text}</td>`);
    return markup`<tr><th scope="row">${name}</th>${cells}</tr>\n`;
  });
  return markup`<div class="scroll"><table>${caption}
<thead><tr><th scope="col">${first}</th>${headings}</tr></thead>
<tbody>
${rows}</tbody></table></div>`;
}
