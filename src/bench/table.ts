/** A benchmark as lines of text. */
import {
  isReached,
  share,
  type Benchmark,
  type Measurement,
  type Shared,
  type Wanted,
} from './measurement.ts';

export function formatBenchmark({ title, measurements, impossible = [] }: Benchmark): string {
  const width = Math.max(0, ...measurements.map(({ name }) => name.length));
  const lines = measurements.map((measurement) => formatLine(measurement, width));
  const gaps = impossible.map(({ name, reason }) => `  ${name}: not possible (${reason})`);
  return [title, ...lines, ...gaps].join('\n');
}

function formatLine(measurement: Measurement, width: number): string {
  const { name, value, limitName, limit, unit, details = {} } = measurement;
  const figures = `${formatFigure(value).padStart(8)} ${unit.padEnd(8)}`;
  const percent = `${formatShare(measurement).padStart(8)}${formatSpread(measurement)}`;
  const further = Object.entries(details).map(
    ([key, figure]) => `, ${key} ${formatFigure(figure)}`,
  );
  const line = `  ${name.padEnd(width)} ${figures} ${percent} of ${limitName} (${formatFigure(limit)})`;
  return line + formatVerdict(measurement) + further.join('');
}

/** `81.2 %`; of a ratio `1.62 ×`. */
export function formatShare(measurement: Shared): string {
  if (measurement.ratio !== undefined) return `${share(measurement).toFixed(2)} ×`;
  return `${(100 * share(measurement)).toFixed(1)} %`;
}

/**
 * ` [79–83]`, the quartiles, empty where there was one repetition; of a ratio ` [1.58–1.66]`, its
 * interval.
 */
export function formatSpread({ spread, ratio }: Measurement): string {
  if (ratio !== undefined) return ` [${ratio.low.toFixed(2)}–${ratio.high.toFixed(2)}]`;
  if (spread === undefined || spread[0] === spread[1]) return '';
  return ` [${spread.map((bound) => (100 * bound).toFixed(0)).join('–')}]`;
}

/** `at least 80 %`. */
export function formatWanted(wanted: Wanted): string {
  if ('reaches' in wanted) return `an interval up to ${formatFigure(100 * wanted.reaches)} %`;
  return 'atLeast' in wanted
    ? `at least ${formatFigure(100 * wanted.atLeast)} %`
    : `below ${formatFigure(100 * wanted.below)} %`;
}

function formatVerdict(measurement: Measurement): string {
  const { wanted } = measurement;
  if (wanted === undefined) return '';
  return `; ${formatWanted(wanted)} wanted: ${isReached(measurement) ? 'reached' : 'MISSED'}`;
}

/** Three significant digits, or all before the point. */
export function formatFigure(value: number): string {
  return value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}
