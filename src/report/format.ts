/** Figures as people read them; every function is pure and independent of the locale. */

/** Shown where there is no figure. */
export const NO_VALUE = '–';

/** `1,234,567`; not for fractions. */
export function formatInteger(value: number): string {
  return value.toLocaleString('en-US', { maximumFractionDigits: 0 });
}

/** `1 pair`, `2,000 pairs`. */
export function formatCounted(count: number, noun: string): string {
  return `${formatInteger(count)} ${noun}${count === 1 ? '' : 's'}`;
}

const COUNT_UNITS = ['', 'k', 'M', 'G', 'T'] as const;

/** Three significant digits with a decimal unit: `950`, `12.4k`, `1.20M`. */
export function formatCount(value: number): string {
  return scale(value, 1000, COUNT_UNITS, '');
}

const BYTE_UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;

/** Three significant digits with a binary unit: `512 B`, `1.50 KiB`, `24.0 MiB`. */
export function formatBytes(value: number): string {
  return scale(value, 1024, BYTE_UNITS, ' ');
}

/** `4.2s` below a minute, then `1:07` and `2:03:09`. */
export function formatDuration(milliseconds: number): string {
  if (!Number.isFinite(milliseconds) || milliseconds < 0) return NO_VALUE;
  if (milliseconds < 59_950) return `${(milliseconds / 1000).toFixed(1)}s`;
  const total = Math.round(milliseconds / 1000);
  const seconds = String(total % 60).padStart(2, '0');
  const minutes = Math.floor(total / 60) % 60;
  const hours = Math.floor(total / 3600);
  return hours > 0
    ? `${String(hours)}:${String(minutes).padStart(2, '0')}:${seconds}`
    : `${String(minutes)}:${seconds}`;
}

/** A fixed number of decimals, with a real minus sign and no negative zero. */
export function formatFixed(value: number, decimals: number): string {
  if (!Number.isFinite(value)) return NO_VALUE;
  const text = Math.abs(value).toFixed(decimals);
  return value < 0 && Number(text) !== 0 ? `−${text}` : text;
}

/** A score in 0..1 as it is reported, times 100 with two decimals: `0.3712` is `37.12`. */
export function formatScore(value: number): string {
  return formatFixed(value * 100, 2);
}

/** Relative size, e.g. of a cache: `25%`, `6.3%`. */
export function formatPercent(fraction: number): string {
  return Number.isFinite(fraction)
    ? `${String(Number((fraction * 100).toPrecision(2)))}%`
    : NO_VALUE;
}

/** A time in ISO 8601, to the minute: `2025-01-31 14:05 UTC`; other text is returned as it is. */
export function formatTimestamp(iso: string): string {
  const match = /^(\d{4}-\d{2}-\d{2})T(\d{2}:\d{2}).*Z$/.exec(iso);
  return match === null ? iso : `${match[1] ?? ''} ${match[2] ?? ''} UTC`;
}

function scale(value: number, base: number, units: readonly string[], separator: string): string {
  if (!Number.isFinite(value)) return NO_VALUE;
  let scaled = Math.abs(value);
  let unit = 0;
  // 999.5 would round to 1000, which belongs to the next unit.
  while (unit < units.length - 1 && scaled >= base - 0.5) {
    scaled /= base;
    unit += 1;
  }
  const sign = value < 0 ? '−' : '';
  const digits = unit === 0 ? String(Number(threeDigits(scaled))) : threeDigits(scaled);
  return `${sign}${digits}${separator}${units[unit] ?? ''}`;
}

function threeDigits(value: number): string {
  return value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0);
}
