/** Asynchronous work on many values, with a bound on how much of it is under way. */

/**
 * The results of `work`, in the order of the values, at most `limit` unfinished at a time. Once one
 * fails, no further ones are begun. `onResult` is called with each result in that same order, as soon
 * as those before it are there, also where a later one fails.
 * @throws what the first failing work rejected with
 */
export async function mapConcurrently<T, R>(
  values: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (value: T) => Promise<R>,
  onResult: (result: R) => void = () => undefined,
): Promise<R[]> {
  const results: R[] = [];
  let told = 0;
  const iterator = eachOf(values);
  let begun = 0;
  let failed = false;
  const runOneByOne = async (): Promise<void> => {
    while (!failed) {
      const next = await iterator.next();
      if (next.done === true) return;
      const index = begun++;
      results[index] = await work(next.value);
      while (told in results) onResult(results[told++]!);
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
