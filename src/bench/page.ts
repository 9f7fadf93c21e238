/** All results as one self-contained page. */
import { renderDocument } from '../report/document.ts';
import { type Markup, markup } from '../report/markup.ts';
import { renderLineCharts, renderRoofline } from './charts.ts';
import { isReached, type Measurement } from './measurement.ts';
import type { Result, Run } from './results.ts';
import { renderSideBySide } from './side-by-side.ts';
import type { Roofs } from './roofline.ts';
import { formatFigure, formatShare, formatSpread, formatWanted } from './table.ts';

/** Everything that comes from `results` is escaped. */
export function renderPage(results: readonly Result[]): string {
  // The roofs are those of the whole processor.
  const unlimited = results
    .filter(({ limit }) => limit === undefined)
    .flatMap(({ measurements }) => measurements);
  return renderDocument({
    title: 'wgqa: benchmarks',
    header: markup`<h1>Benchmarks of wgqa</h1>
<p class="muted">${describeDevices(results)}</p>
<p>Every figure is a share of a limit or of a peer that was measured in the same run, in turn with
it: medians, with the quartiles of the share in brackets; or a ratio (×) of rates that took turns,
with the 95 % interval of its median. Above 100 % is faster, smaller times and sizes aside.</p>`,
    main: markup`${renderWishes(results.flatMap(wishesOf))}
${renderRooflineSection(unlimited)}
${renderSideBySide(results)}
${results.map(renderResult)}`,
  });
}

function describeDevices(results: readonly Result[]): string {
  const lines = results.map(
    ({ limit, device: { cpu, threads, instructionSets, node } }) =>
      `${cpu}, ${String(threads)} threads, ${limit === undefined ? instructionSets.join(' ') : `limited to ${limit}`}, Node ${node}`,
  );
  return [...new Set(lines)].join('; ');
}

function wishesOf({ limit, measurements }: Result): Measurement[] {
  return measurements
    .filter(({ wanted }) => wanted !== undefined)
    .map((one) => (limit === undefined ? one : { ...one, name: `${limit}: ${one.name}` }));
}

function renderWishes(wished: readonly Measurement[]): Markup {
  const reached = wished.filter((measurement) => isReached(measurement));
  return markup`<section aria-labelledby="wishes">
<h2 id="wishes">What was wanted</h2>
<p>${reached.length} of ${wished.length} reached.</p>
${renderTable(wished)}</section>`;
}

function renderRooflineSection(measurements: readonly Measurement[]): Markup | undefined {
  const chart = renderRoofline(measurements, roofsOf(measurements));
  return (
    chart && markup`<section aria-labelledby="roof"><h2 id="roof">Roofline</h2>${chart}</section>`
  );
}

/** The limits among the measurements: oneDNN's rates, and read bandwidth. */
export function roofsOf(measurements: readonly Measurement[]): Roofs {
  const rates = measurements
    .filter(({ name }) => name.startsWith('oneDNN products in '))
    .map(({ name, value }) => ({ name: name.replace('oneDNN products in ', ''), rate: value }));
  const reading = measurements.find(({ name }) => name.startsWith('reading '));
  const bandwidths = reading && [
    { name: `${reading.name}: ${formatFigure(reading.value)} GB/s`, rate: reading.value },
    { name: `${reading.limitName}: ${formatFigure(reading.limit)} GB/s`, rate: reading.limit },
  ];
  return { rates, bandwidths: bandwidths ?? [] };
}

function renderResult(result: Result): Markup {
  const { name, benchmark, limit, title, measurements, impossible = [] } = result;
  const gaps = impossible.map(
    ({ name: what, reason }) => markup`<li>${what}: not possible (${reason})</li>`,
  );
  return markup`<section aria-labelledby="${name}">
<h2 id="${name}">${limit === undefined ? title : `${title}, limited to ${limit}`}</h2>
${renderLineCharts(name, result)}
${renderTable(measurements)}
<ul>${gaps}</ul>
<p class="muted"><code>npm run bench -- ${commandOf({ benchmark, limit })}</code></p>
</section>`;
}

function commandOf({ benchmark, limit }: Run): string {
  const compared = benchmark.replace(/^against-(.*)/, '--against FOLDER $1');
  return limit === undefined ? compared : `${compared} --isa ${limit}`;
}

function renderTable(measurements: readonly Measurement[]): Markup {
  const rows = measurements.map((measurement) => {
    const { name, value, unit, limit, limitName, wanted, details = {} } = measurement;
    const verdict = wanted && `${formatWanted(wanted)}: ${isReached(measurement) ? 'yes' : 'no'}`;
    const further = Object.entries(details).map(
      ([key, figure]) => `${key} ${formatFigure(figure)}`,
    );
    return markup`<tr><th scope="row">${name}</th>
<td class="right">${formatFigure(value)} ${unit}</td>
<td class="right">${formatShare(measurement)}${formatSpread(measurement)}</td>
<td>${limitName} (${formatFigure(limit)})</td><td>${verdict}</td>
<td class="muted">${further.join(', ')}</td></tr>
`;
  });
  return markup`<div class="scroll"><table class="figures">
<thead><tr><th scope="col">what</th><th scope="col" class="right">measured</th>
<th scope="col" class="right">share</th><th scope="col">of</th><th scope="col">wanted</th>
<th scope="col">further</th></tr></thead>
<tbody>
${rows}</tbody></table></div>`;
}
