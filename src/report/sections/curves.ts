import { drawLines } from '../charts/lines.ts';
import { type SeriesStyle, drawLegend } from '../charts/series.ts';
import { NO_VALUE, formatFixed, formatInteger } from '../format.ts';
import { type Markup, markup } from '../markup.ts';
import type { ScaleType } from '../scale.ts';
import { type Point, averageNeighbours } from '../statistics.ts';
import type { CurvePoint, DemoReport, VariantResult } from '../types.ts';
import { type FigureTable, renderFigureTable } from './table.ts';

/** More points than this do not show on a page. */
const CURVE_POINTS = 100;
const TABLE_ROWS = 20;

interface Curve {
  readonly variant: VariantResult;
  readonly style: SeriesStyle;
  readonly training: readonly Point[];
  readonly heldOut: readonly Point[];
  /** Steps averaged into each point of `training`. */
  readonly neighbours: number;
}

/** Training and held-out loss by step, one line per variant. */
export function renderCurves(report: DemoReport, styles: ReadonlyMap<string, SeriesStyle>): Markup {
  const curves = report.variants.flatMap((variant) => {
    const style = styles.get(variant.preset);
    return style === undefined || variant.curve.length === 0 ? [] : [createCurve(variant, style)];
  });
  const body =
    curves.length === 0 ? markup`<p>No learning curve was recorded.</p>` : renderFigures(curves);
  return markup`<section aria-labelledby="curves">
<h2 id="curves">Learning curves</h2>
${body}
</section>`;
}

function createCurve(variant: VariantResult, style: SeriesStyle): Curve {
  const training = averageNeighbours(
    variant.curve.map(({ step, loss }) => ({ x: step, y: loss })),
    CURVE_POINTS,
  );
  const heldOut = variant.curve
    .map(({ step, evalLoss = NaN }) => ({ x: step, y: evalLoss }))
    .filter((point) => Number.isFinite(point.y));
  return { variant, style, training: training.points, heldOut, neighbours: training.neighbours };
}

function renderFigures(curves: readonly Curve[]): Markup {
  const legend = drawLegend(
    curves.map(({ variant, style, heldOut, training }) => ({
      name: variant.preset,
      note: formatFixed((heldOut.at(-1) ?? training.at(-1))?.y ?? NaN, 3),
      style,
    })),
  );
  const scaled = (scale: ScaleType): Markup =>
    markup`<div class="pair when-${scale}">
${drawTraining(curves, scale)}${drawHeldOut(curves, scale)}</div>`;
  return markup`<p>Beside each name, the last loss shown: held-out where it was evaluated,
else training.</p>
${legend}
<div class="choice" role="group" aria-label="Axes">
<input type="radio" name="axes" id="axes-linear" class="linear" checked>
<label for="axes-linear">Linear axes</label>
<input type="radio" name="axes" id="axes-log" class="log">
<label for="axes-log">Logarithmic axes</label>
${scaled('linear')}
${scaled('log')}
</div>
${renderFigureTable('Learning curves as a table', tableOf(curves))}`;
}

function drawTraining(curves: readonly Curve[], scale: ScaleType): Markup {
  const neighbours = curves.reduce((most, curve) => Math.max(most, curve.neighbours), 1);
  const note =
    neighbours > 1 ? `Each point is the mean of up to ${String(neighbours)} steps.` : 'Every step.';
  const lines = curves.map(({ variant, style, training }) => ({
    name: variant.preset,
    style,
    points: training,
  }));
  return renderFigure('Training loss', note, lines, {
    id: `training-${scale}`,
    markers: false,
    scale,
  });
}

function drawHeldOut(curves: readonly Curve[], scale: ScaleType): Markup | undefined {
  const lines = curves
    .filter(({ heldOut }) => heldOut.length > 0)
    .map(({ variant, style, heldOut }) => ({ name: variant.preset, style, points: heldOut }));
  if (lines.length === 0) return undefined;
  return renderFigure('Held-out loss', 'At each evaluation.', lines, {
    id: `held-out-${scale}`,
    markers: true,
    scale,
  });
}

function renderFigure(
  title: string,
  note: string,
  lines: Parameters<typeof drawLines>[0],
  options: { readonly id: string; readonly markers: boolean; readonly scale: ScaleType },
): Markup {
  if (!lines.some(({ points }) => points.length > 0)) return markup``;
  const names = lines.map(({ name }) => name).join(', ');
  const chart = drawLines(lines, {
    ...options,
    title: `${title} by step`,
    description: `One line per variant: ${names}. The figures are in the table below.`,
    xTitle: 'optimiser step',
    yTitle: 'loss, nats per token',
  });
  return markup`<figure><figcaption>${title}. ${note}</figcaption>${chart}</figure>`;
}

function tableOf(curves: readonly Curve[]): FigureTable {
  return {
    caption: 'Training loss, and held-out loss after a slash where evaluated',
    headings: ['Step', ...curves.map(({ variant }) => variant.preset)],
    rows: pickSteps(curves).map((step) => [
      formatInteger(step),
      ...curves.map(({ variant }) => formatPoint(variant.curve, step)),
    ]),
  };
}

/** Evenly spaced recorded steps, and all that were evaluated as far as there is room. */
function pickSteps(curves: readonly Curve[]): number[] {
  const all = uniqueSteps(curves, () => true);
  const evaluated = uniqueSteps(curves, (point) => point.evalLoss !== undefined);
  const source = evaluated.length >= 4 ? evaluated : all;
  const stride = Math.ceil(source.length / TABLE_ROWS);
  return source.filter((_, index) => (source.length - 1 - index) % stride === 0);
}

function uniqueSteps(curves: readonly Curve[], keep: (point: CurvePoint) => boolean): number[] {
  const steps = curves.flatMap(({ variant }) => variant.curve.filter(keep).map(({ step }) => step));
  return [...new Set(steps)].sort((a, b) => a - b);
}

function formatPoint(curve: readonly CurvePoint[], step: number): string {
  const point = curve.find((candidate) => candidate.step === step);
  if (point === undefined) return NO_VALUE;
  const evaluated = point.evalLoss === undefined ? '' : ` / ${formatFixed(point.evalLoss, 3)}`;
  return `${formatFixed(point.loss, 3)}${evaluated}`;
}
