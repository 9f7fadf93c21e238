import { describe, expect, test } from '@jest/globals';
import { mapConcurrently } from '../../src/scoring/concurrency.ts';

async function turn(): Promise<void> {
  await new Promise((resolve) => setImmediate(resolve));
}

async function* numbers(count: number): AsyncGenerator<number> {
  for (let i = 0; i < count; ++i) {
    await turn();
    yield i;
  }
}

describe('work on many values', () => {
  test.each([1, 3, 100])('keeps their order, with at most %i unfinished', async (limit) => {
    let unfinished = 0;
    let most = 0;
    const results = await mapConcurrently(numbers(20), limit, async (value) => {
      most = Math.max(most, ++unfinished);
      for (let i = 0; i <= (7 * value) % 5; ++i) await turn();
      unfinished -= 1;
      return 2 * value;
    });
    expect(results).toEqual(Array.from({ length: 20 }, (_, i) => 2 * i));
    expect(most).toBeLessThanOrEqual(limit);
  });

  test('takes arrays as well', async () => {
    expect(await mapConcurrently(['a', 'b'], 2, (x) => Promise.resolve(x + x))).toEqual([
      'aa',
      'bb',
    ]);
  });

  test('begins nothing more once something failed', async () => {
    const begun: number[] = [];
    const work = async (value: number) => {
      begun.push(value);
      await turn();
      if (value === 2) throw new RangeError('no');
    };
    await expect(mapConcurrently(numbers(20), 2, work)).rejects.toThrow('no');
    for (let i = 0; i < 50; ++i) await turn();
    expect(begun.length).toBeLessThan(6);
  });
});
