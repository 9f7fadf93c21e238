/** The best choice of one option for each place within a budget: a multiple-choice knapsack. */

export interface Option {
  /** Not negative. */
  readonly cost: number;
  /** What choosing it loses; lower is better. */
  readonly loss: number;
}

interface Choice {
  readonly cost: number;
  readonly loss: number;
  /** Index of the option chosen at the last place, and the choices before it. */
  readonly option: number;
  readonly before: Choice | undefined;
}

/**
 * For each place the index of an option, so that the sum of losses is the least of all choices whose
 * costs sum to at most `budget`; of equal losses, the cheaper. Undefined if even the cheapest
 * options cost more.
 */
export function allocate(
  places: readonly (readonly Option[])[],
  budget: number,
): number[] | undefined {
  let front: Choice[] = [{ cost: 0, loss: 0, option: -1, before: undefined }];
  for (const options of places) {
    const extended = front.flatMap((before) =>
      options.map(({ cost, loss }, option) => ({
        cost: before.cost + cost,
        loss: before.loss + loss,
        option,
        before,
      })),
    );
    front = undominated(extended.filter(({ cost }) => cost <= budget));
  }
  const best = front.at(-1);
  return best && optionsOf(best);
}

/** In ascending cost, only those with less loss than all cheaper ones. */
function undominated(choices: Choice[]): Choice[] {
  choices.sort((a, b) => a.cost - b.cost || a.loss - b.loss);
  let least = Infinity;
  return choices.filter(({ loss }) => {
    if (loss >= least) return false;
    least = loss;
    return true;
  });
}

function optionsOf(choice: Choice): number[] {
  const options: number[] = [];
  for (let at = choice; at.before !== undefined; at = at.before) options.unshift(at.option);
  return options;
}
