/** Asynchronous work on many values, with a bound on how much of it is under way. */

/**
 * The results of `work`, in the order of the values, at most `limit` unfinished at a time. Once one
 * fails, no further ones are begun.
 * @throws what the first failing work rejected with
 */
export async function mapConcurrently<T, R>(
  values: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (value: T) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const iterator = eachOf(values);
  let begun = 0;
  let failed = false;
  const runOneByOne = async (): Promise<void> => {
    while (!failed) {
      const next = await iterator.next();
      if (next.done === true) return;
      const index = begun++;
      results[index] = await work(next.value);
    }
  };
  try {
    await Promise.all(Array.from({ length: limit }, runOneByOne));
  } catch (error) {
    failed = true;
    throw error;
  }
  return results;
}

async function* eachOf<T>(values: Iterable<T> | AsyncIterable<T>): AsyncGenerator<T> {
  yield* values;
}
