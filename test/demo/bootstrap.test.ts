import { describe, expect, test } from '@jest/globals';
import { pairedBootstrap } from '../../src/demo/bootstrap.ts';

describe('pairedBootstrap', () => {
  test('a constant difference leaves nothing to chance', () => {
    const { low, high } = pairedBootstrap([0.5, 0.75, 1], [0.25, 0.5, 0.75], 0);
    expect([low, high]).toEqual([0.25, 0.25]);
  });

  test('the interval has the width of the standard error, within sampling error', () => {
    const a = Array.from({ length: 400 }, (_, i) => i % 2);
    const { low, high } = pairedBootstrap(a, a.map(() => 0), 1);
    // Mean 0.5, standard error 0.5 / sqrt(400) = 0.025; 2000 resamples know a quantile to ~5 %.
    expect(low).toBeGreaterThan(0.5 - 2.2 * 0.025);
    expect(low).toBeLessThan(0.5 - 1.7 * 0.025);
    expect(high).toBeGreaterThan(0.5 + 1.7 * 0.025);
    expect(high).toBeLessThan(0.5 + 2.2 * 0.025);
  });

  test('depends on the seed only', () => {
    const a = [0.1, 0.7, 0.3, 0.9, 0.2];
    const b = [0.4, 0.1, 0.8, 0.3, 0.6];
    expect(pairedBootstrap(a, b, 5)).toEqual(pairedBootstrap(a, b, 5));
    expect(pairedBootstrap(a, b, 5)).not.toEqual(pairedBootstrap(a, b, 6));
  });
});
