import { type Markup, markup } from '../markup.ts';
import type { DemoReport, SampleSummary } from '../types.ts';

/** What the variants write for the same sources, beside what a person wrote. */
export function renderSamples(report: DemoReport): Markup {
  if (report.samples.length === 0) return markup``;
  return markup`<section aria-labelledby="samples">
<h2 id="samples">Samples</h2>
<p>From the held-out pairs.</p>
${report.samples.map(renderSample)}
</section>`;
}

/** One source, with what a person and each variant wrote. */
export function renderSample({ source, reference, outputs }: SampleSummary, index: number): Markup {
  const rows = outputs.map(
    ({ preset, text }) => markup`<tr><th scope="row">${preset}</th><td dir="auto">${text}</td></tr>
`,
  );
  return markup`<article class="sample">
<h3>Sample ${index + 1}</h3>
<p class="source" dir="auto" tabindex="0">${source}</p>
<table><tbody>
<tr><th scope="row" class="reference">Reference</th>
<td class="reference" dir="auto">${reference}</td></tr>
${rows}</tbody></table>
</article>
`;
}
