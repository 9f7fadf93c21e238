import { describe, expect, test } from '@jest/globals';
import {
  formatBytes,
  formatCount,
  formatDuration,
  formatFixed,
  formatInteger,
  formatPercent,
  formatScore,
  formatTimestamp,
} from '../../src/report/format.ts';

describe('figures', () => {
  test.each([
    [0, '0'],
    [950, '950'],
    [999.96, '1.00k'],
    [1000, '1.00k'],
    [12_430, '12.4k'],
    [999_499, '999k'],
    [999_600, '1.00M'],
    [24_000_000, '24.0M'],
    [-1500, '−1.50k'],
    [NaN, '–'],
    [Infinity, '–'],
  ])('count %p is %p', (value, expected) => {
    expect(formatCount(value)).toBe(expected);
  });

  test.each([
    [512, '512 B'],
    [1536, '1.50 KiB'],
    [12_288, '12.0 KiB'],
    [25_165_824, '24.0 MiB'],
  ])('%i bytes are %p', (value, expected) => {
    expect(formatBytes(value)).toBe(expected);
  });

  test.each([
    [0, '0.0s'],
    [4249, '4.2s'],
    [59_949, '59.9s'],
    [59_960, '1:00'],
    [67_000, '1:07'],
    [7_389_000, '2:03:09'],
    [-1, '–'],
    [Infinity, '–'],
  ])('%p ms are %p', (value, expected) => {
    expect(formatDuration(value)).toBe(expected);
  });

  test('fixed decimals have a real minus and no negative zero', () => {
    expect(formatFixed(-1.005, 1)).toBe('−1.0');
    expect(formatFixed(-0.001, 2)).toBe('0.00');
    expect(formatFixed(NaN, 2)).toBe('–');
  });

  test('scores, shares, integers and times', () => {
    expect(formatScore(0.37123)).toBe('37.12');
    expect(formatPercent(0.25)).toBe('25%');
    expect(formatPercent(1 / 16)).toBe('6.3%');
    expect(formatPercent(1)).toBe('100%');
    expect(formatInteger(1234567)).toBe('1,234,567');
    expect(formatTimestamp('2025-01-31T14:05:59.123Z')).toBe('2025-01-31 14:05 UTC');
    expect(formatTimestamp('yesterday')).toBe('yesterday');
  });
});
