import { type Markup, markup } from '../markup.ts';

/** How one variant is drawn in every chart: a class for its colour, and a dash for its line. */
export interface SeriesStyle {
  readonly className: string;
  /** SVG dash array; `'none'` is a solid line. */
  readonly dash: string;
}

/** Colours in style.ts; with the dashes they tell 24 variants and the baseline apart. */
const COLOURS = 8;
const DASHES = ['none', '7 3', '2 3'] as const;

/** Styles by preset: the baseline in the text colour, the others in the order given. */
export function assignStyles(
  presets: readonly string[],
  baseline: string,
): ReadonlyMap<string, SeriesStyle> {
  const others = presets.filter((preset) => preset !== baseline);
  const styles = others.map((preset, index): [string, SeriesStyle] => [
    preset,
    {
      className: `series-${String(index % COLOURS)}`,
      dash: DASHES[Math.floor(index / COLOURS) % DASHES.length] ?? 'none',
    },
  ]);
  return new Map([[baseline, { className: 'series-base', dash: 'none' }], ...styles]);
}

/** One line per entry: a sample of the line, the name, and a figure beside it. */
export function drawLegend(
  entries: readonly { readonly name: string; readonly note: string; readonly style: SeriesStyle }[],
): Markup {
  const items = entries.map(
    ({ name, note, style }) => markup`<li class="${style.className}">
<svg class="swatch" viewBox="0 0 26 8" aria-hidden="true"><line x1="1" x2="25" y1="4" y2="4"
 stroke-dasharray="${style.dash}"/></svg><span>${name}</span>
<span class="muted">${note}</span></li>
`,
  );
  return markup`<ul class="legend">${items}</ul>`;
}
