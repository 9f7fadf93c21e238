import { describe, expect, test } from '@jest/globals';
import { allocate, type Option } from '../../src/budget/allocation.ts';
import { randomIntegers } from '../support/tiny-model.ts';

interface Sum {
  readonly cost: number;
  readonly loss: number;
}

/** Sums of every choice of one option for each place. */
function allChoices(places: readonly (readonly Option[])[]): Sum[] {
  return places.reduce<Sum[]>(
    (sums, options) =>
      sums.flatMap((sum) =>
        options.map(({ cost, loss }) => ({ cost: sum.cost + cost, loss: sum.loss + loss })),
      ),
    [{ cost: 0, loss: 0 }],
  );
}

function sumOf(places: readonly (readonly Option[])[], chosen: readonly number[]): Sum {
  return allChoices(places.map((options, i) => [options[chosen[i] ?? -1]!]))[0]!;
}

/** The cheapest of the choices with the least loss within the budget, by trying all. */
function bestOf(places: readonly (readonly Option[])[], budget: number): Sum | undefined {
  return allChoices(places)
    .filter(({ cost }) => cost <= budget)
    .sort((a, b) => a.loss - b.loss || a.cost - b.cost)[0];
}

describe('an allocation', () => {
  // Losses are whole numbers, which sum to the same in any order, with ties and gains among them.
  test.each(Array.from({ length: 40 }, (_, seed) => seed))(
    'of problem %i is the best of all choices',
    (seed) => {
      const random = randomIntegers(1000 + 77 * seed);
      const places = Array.from({ length: 1 + random(6) }, () =>
        Array.from({ length: 1 + random(4) }, () => ({ cost: random(9), loss: random(20) - 5 })),
      );
      const most = Math.max(...allChoices(places).map(({ cost }) => cost));
      for (let budget = 0; budget <= most + 1; ++budget) {
        const chosen = allocate(places, budget);
        const best = bestOf(places, budget);
        expect(chosen && sumOf(places, chosen)).toEqual(best);
        if (chosen) expect(chosen).toHaveLength(places.length);
      }
    },
  );

  test('of equal losses is the cheaper', () => {
    const options = [
      { cost: 3, loss: 1 },
      { cost: 2, loss: 1 },
    ];
    expect(allocate([options, options], 6)).toEqual([1, 1]);
  });

  test('of nothing is nothing, and none where the cheapest cost too much', () => {
    expect(allocate([], 0)).toEqual([]);
    expect(allocate([[{ cost: 2, loss: 0 }]], 1)).toBeUndefined();
    expect(allocate([[]], 1)).toBeUndefined();
  });

  test('of many places takes no time to speak of', () => {
    const random = randomIntegers(5);
    // As 48 layers of 24 heads: costs are multiples of few numbers.
    const places = Array.from({ length: 96 }, () =>
      [1, 2, 3, 4, 6, 8, 12, 24].map((cost) => ({ cost, loss: (random(1000) / cost) * 1e-4 })),
    );
    const chosen = allocate(places, 800);
    expect(chosen && sumOf(places, chosen).cost).toBeLessThanOrEqual(800);
  });
});
