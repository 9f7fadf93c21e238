/** Whether limits are measured at all; how fast a machine is, no test can say. */
import { expect, test } from '@jest/globals';
import { flopsOf, productSeconds, readRate } from '../../src/bench/limits.ts';
import { errorOf } from '../support/errors.ts';

const PRODUCT = { batch: 2, rows: 3, depth: 5, columns: 7, count: 4 };

test('products are counted with both operations', () => {
  expect(flopsOf([PRODUCT, PRODUCT])).toBe(2 * 2 * 2 * 3 * 5 * 7 * 4);
});

test('limits are measured many at once, and time is positive', async () => {
  const seconds = await Promise.all([
    ...Array.from({ length: 8 }, () => readRate(1 << 16)),
    productSeconds([PRODUCT], 'float32', 1),
    productSeconds([PRODUCT, { ...PRODUCT, batch: 1 }], 'float32'),
  ]);
  for (const one of seconds) {
    expect(one).toBeGreaterThan(0);
    expect(one).toBeLessThan(Infinity);
  }
});

test('what cannot be measured is refused', async () => {
  expect(await errorOf(() => productSeconds([PRODUCT], 'float64' as 'float32'))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    field: 'dtype',
  });
  expect(await errorOf(() => productSeconds([{ ...PRODUCT, rows: 0 }], 'float32'))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    field: 'products',
  });
  expect(await errorOf(() => readRate(7))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    field: 'bytes',
  });
});
