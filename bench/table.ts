/** A benchmark as lines of text. */
import { share, type Benchmark, type Measurement } from './measure.ts';

export function formatBenchmark({ title, measurements }: Benchmark): string {
  const width = Math.max(...measurements.map(({ name }) => name.length));
  const lines = measurements.map((measurement) => formatLine(measurement, width));
  return [title, ...lines].join('\n');
}

function formatLine(measurement: Measurement, width: number): string {
  const { name, value, limitName, limit, unit, details = {} } = measurement;
  const figures = `${format(value).padStart(8)} ${unit.padEnd(8)}`;
  const percent = `${(100 * share(measurement)).toFixed(1).padStart(6)} %`;
  const further = Object.entries(details).map(([key, figure]) => `, ${key} ${format(figure)}`);
  const line = `  ${name.padEnd(width)} ${figures} ${percent} of ${limitName} (${format(limit)})`;
  return line + verdict(measurement) + further.join('');
}

function verdict(measurement: Measurement): string {
  const { wanted } = measurement;
  if (wanted === undefined) return '';
  const [reached, bound] =
    'atLeast' in wanted
      ? [share(measurement) >= wanted.atLeast, `at least ${format(100 * wanted.atLeast)} %`]
      : [share(measurement) < wanted.below, `below ${format(100 * wanted.below)} %`];
  return `; ${bound} wanted: ${reached ? 'reached' : 'MISSED'}`;
}

function format(value: number): string {
  return value >= 1000 ? value.toFixed(0) : value.toPrecision(3);
}
