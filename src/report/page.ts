import { assignStyles } from './charts/series.ts';
import { checkReport } from './check.ts';
import { formatTimestamp } from './format.ts';
import { Markup, markup } from './markup.ts';
import { renderComparison } from './sections/comparison.ts';
import { renderCurves } from './sections/curves.ts';
import { renderMethod } from './sections/method.ts';
import { renderSamples } from './sections/samples.ts';
import { renderWeights } from './sections/weights.ts';
import { STYLE } from './style.ts';
import type { DemoReport } from './types.ts';

/** The page loads nothing, and its own policy forbids it to. */
export const PAGE_POLICY = "default-src 'none'; style-src 'unsafe-inline'";

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
  const page = markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="${PAGE_POLICY}">
<meta name="generator" content="wgqa ${report.settings.version}">
<title>${report.title}</title>
<style>${new Markup(STYLE)}</style>
</head>
<body>
<header>
<h1>${report.title}</h1>
<p class="muted">${report.settings.checkpoint} · ${report.settings.dataset} ·
<time datetime="${report.createdAt}">${formatTimestamp(report.createdAt)}</time></p>
</header>
<main>
${renderComparison(report, styles)}
${renderCurves(report, styles)}
${renderWeights(report, styles)}
${renderSamples(report)}
${renderMethod(report)}
</main>
</body>
</html>
`;
  return page.text;
}
