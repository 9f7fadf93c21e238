import { formatFixed } from './format.ts';

/** Maps values of a domain to positions on an axis, with labelled ticks. */
export interface Scale {
  readonly position: (value: number) => number;
  readonly ticks: readonly number[];
  readonly format: (tick: number) => string;
}

export type ScaleType = 'linear' | 'log';

/** Lowest and highest value. */
export type Interval = readonly [low: number, high: number];

/** Interval of the finite values; `[0, 1]` if there is none. */
export function extentOf(values: Iterable<number>): Interval {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (!Number.isFinite(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : [0, 1];
}

/** Widens by a share of the length on both sides; an empty interval opens around its value. */
export function pad([low, high]: Interval, share: number): Interval {
  const length = high - low;
  const margin = length > 0 ? length * share : Math.max(Math.abs(low) * 0.1, 1e-6);
  return [low - margin, high + margin];
}

/**
 * A scale from `domain` to `range`; `'log'` falls back to `'linear'` where the domain is not
 * positive.
 */
export function createScale(
  type: ScaleType,
  domain: Interval,
  range: readonly [from: number, to: number],
  tickCount = 6,
): Scale {
  const isLog = type === 'log' && domain[0] > 0;
  const transform = isLog ? Math.log : (value: number): number => value;
  const [low, high] = [transform(domain[0]), transform(domain[1])];
  const ticks = isLog ? logTicks(domain, tickCount) : linearTicks(domain, tickCount);
  const decimals = decimalsOf(ticks);
  return {
    position: (value) =>
      range[0] + ((transform(value) - low) / (high - low || 1)) * (range[1] - range[0]),
    ticks,
    format: (tick) => formatTick(tick, decimals),
  };
}

/** Multiples of 1, 2 or 5 times a power of ten inside the domain, about `count` of them. */
export function linearTicks([low, high]: Interval, count: number): number[] {
  if (!(high > low)) return [low];
  const rough = (high - low) / count;
  const power = Number(`1e${String(Math.floor(Math.log10(rough) + 1e-9))}`);
  const step = power * ([1, 2, 5].find((factor) => factor * power >= rough * (1 - 1e-9)) ?? 10);
  const first = Math.ceil(low / step - 1e-9);
  const last = Math.floor(high / step + 1e-9);
  return Array.from({ length: last - first + 1 }, (_, index) =>
    Number(((first + index) * step).toPrecision(12)),
  );
}

/** 1, 2 and 5 times powers of ten; linear ticks where the domain holds fewer than three of them. */
export function logTicks([low, high]: Interval, count: number): number[] {
  const ticks: number[] = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1) {
    for (const factor of [1, 2, 5]) {
      const tick = Number((factor * 10 ** power).toPrecision(12));
      if (tick >= low && tick <= high) ticks.push(tick);
    }
  }
  if (ticks.length < 3) return linearTicks([low, high], count);
  if (ticks.length <= 2 * count) return ticks;
  return ticks.filter((tick) => Number.isInteger(Math.log10(tick)));
}

/** Decimals that tell all ticks apart and show each exactly. */
function decimalsOf(ticks: readonly number[]): number {
  const decimals = ticks.map((tick) => {
    const [, fraction = '', exponent = '0'] = /\.?(\d*)(?:e(.*))?$/.exec(
      tick.toExponential().replace(/^-?\d/, ''),
    ) ?? ['', '', '0'];
    return tick === 0 ? 0 : fraction.length - Number(exponent);
  });
  return Math.min(Math.max(0, ...decimals), 6);
}

function formatTick(tick: number, decimals: number): string {
  if (Math.abs(tick) >= 10_000 && tick % 1000 === 0) return `${formatFixed(tick / 1000, 0)}k`;
  return formatFixed(tick, decimals);
}
