import { formatDuration, formatInteger } from '../format.ts';
import { type Markup, markup } from '../markup.ts';
import type { DemoReport } from '../types.ts';

/** How the figures were obtained, so that someone else can obtain them. */
export function renderMethod(report: DemoReport): Markup {
  const { settings } = report;
  const facts: readonly (readonly [string, string | Markup])[] = [
    ['Command', markup`<code>${settings.command}</code>`],
    ['Version', `wgqa ${settings.version}`],
    ['Checkpoint', settings.checkpoint],
    ['Architecture', settings.architecture],
    ['Data', settings.dataset],
    [
      'Pairs',
      `${formatInteger(settings.trainExamples)} to train, ` +
        `${formatInteger(settings.evalExamples)} held out`,
    ],
    [
      'Fine-tuning',
      `${formatInteger(settings.steps)} steps of ${formatInteger(settings.batchSize)} pairs, ` +
        `${settings.optimizer}, learning rate ${String(settings.learningRate)}, ` +
        `seed ${String(settings.seed)}, ${settings.trainPrecision}`,
    ],
    ['Decoding', `${settings.decoding}, ${settings.decodePrecision}`],
    ['Ran on', `${settings.device}, ${formatInteger(settings.threads)} threads`],
    ...trainingTimes(report),
    ['Scores', 'ROUGE as rouge_score computes it, with Porter stemming; mean F-measure times 100'],
  ];
  const items = facts.map(([term, fact]) => markup`<dt>${term}</dt><dd>${fact}</dd>\n`);
  const notes = (settings.notes ?? []).map((note) => markup`<p>${note}</p>\n`);
  return markup`<section aria-labelledby="method">
<h2 id="method">How it was measured</h2>
<dl>
${items}</dl>
${notes}</section>`;
}

function trainingTimes({ variants }: DemoReport): [string, string][] {
  const times = variants.flatMap(({ preset, trainMilliseconds }) =>
    trainMilliseconds === undefined ? [] : [`${preset} ${formatDuration(trainMilliseconds)}`],
  );
  return times.length === 0 ? [] : [['Fine-tuning time', times.join(', ')]];
}
