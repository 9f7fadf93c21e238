import { expect, test } from '@jest/globals';
import { CounterRandom } from '../../src/data/random.ts';

test('every value below the limit is equally likely', () => {
  const random = new CounterRandom(1, 2);
  const draws = 60_000;
  const counts = new Array<number>(6).fill(0);
  for (let i = 0; i < draws; i += 1) {
    const value = random.nextBelow(6);
    counts[value] = (counts[value] ?? NaN) + 1;
  }
  const expected = draws / 6;
  const chiSquare = counts.reduce((sum, count) => sum + (count - expected) ** 2 / expected, 0);
  expect(chiSquare).toBeLessThan(20.5); // 99.9th percentile at 5 degrees of freedom
});

test('neighbouring seeds and streams have nothing in common', () => {
  const bits = (seed: number, stream: number) => {
    const random = new CounterRandom(seed, stream);
    return Array.from({ length: 256 }, () => random.nextUint32());
  };
  const streams = [bits(0, 0), bits(1, 0), bits(0, 1), bits(1, 1), bits(2 ** 32, 0)];
  for (const [i, left] of streams.entries()) {
    for (const right of streams.slice(0, i)) {
      const equalBits = left.reduce((sum, word, at) => {
        const same = ~(word ^ (right[at] ?? 0)) >>> 0;
        return sum + same.toString(2).replaceAll('0', '').length;
      }, 0);
      // 8192 fair bits: mean 4096, standard deviation 45; 4.5 of them either way.
      expect(Math.abs(equalBits - 4096)).toBeLessThan(204);
    }
  }
});

test('a shuffle is a permutation, of lists as of typed arrays', () => {
  const list = new CounterRandom(5, 0).shuffle([...Array(100).keys()]);
  const typed = new CounterRandom(5, 0).shuffle(Int32Array.from(Array(100).keys()));
  expect([...typed]).toEqual(list);
  expect(list).not.toEqual([...Array(100).keys()]);
  expect([...list].sort((a, b) => a - b)).toEqual([...Array(100).keys()]);
});
