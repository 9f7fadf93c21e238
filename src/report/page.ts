import { assignStyles } from './charts/series.ts';
import { checkReport } from './check.ts';
import { renderDocument } from './document.ts';
import { formatTimestamp } from './format.ts';
import { markup } from './markup.ts';
import { renderComparison } from './sections/comparison.ts';
import { renderCurves } from './sections/curves.ts';
import { renderMethod } from './sections/method.ts';
import { renderSamples } from './sections/samples.ts';
import { renderWeights } from './sections/weights.ts';
import type { DemoReport } from './types.ts';

/**
 * The report as one self-contained HTML page: no script, no network, no external file. Everything
 * that comes from `report` is escaped.
 *
 * @throws WgqaError `INVALID_ARGUMENT` when the report contradicts itself (see `checkReport`).
 */
export function renderHtmlReport(report: DemoReport): string {
  checkReport(report);
  const styles = assignStyles(
    report.variants.map((variant) => variant.preset),
    report.baseline,
  );
  return renderDocument({
    title: report.title,
    generator: `wgqa ${report.settings.version}`,
    header: markup`<h1>${report.title}</h1>
<p class="muted">${report.settings.checkpoint} · ${report.settings.dataset} ·
<time datetime="${report.createdAt}">${formatTimestamp(report.createdAt)}</time></p>`,
    main: markup`${renderComparison(report, styles)}
${renderCurves(report, styles)}
${renderWeights(report, styles)}
${renderSamples(report)}
${renderMethod(report)}`,
  });
}
