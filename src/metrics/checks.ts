import { WgqaError, invalidArgument } from '../errors.ts';

/** One reference per hypothesis, or a list of references per hypothesis. */
export type References = readonly string[] | readonly (readonly string[])[];

/**
 * Checks a corpus and returns its references as one list per hypothesis.
 *
 * @throws WgqaError `INVALID_ARGUMENT` when the corpus is empty, lengths differ, an element is not
 * a string, or a hypothesis has no reference.
 */
export function checkCorpus(hypotheses: readonly string[], references: References): string[][] {
  checkStrings('hypotheses', hypotheses);
  if (hypotheses.length === 0) {
    throw invalidArgument('hypotheses', 'a non-empty array of strings', hypotheses);
  }
  if (!Array.isArray(references) || references.length !== hypotheses.length) {
    throw mismatchedReferences(hypotheses, references);
  }
  return Array.from(references as readonly (string | readonly string[])[], (reference, index) => {
    const field = `references[${String(index)}]`;
    if (typeof reference === 'string') return [reference];
    checkStrings(field, reference);
    if (reference.length === 0) throw invalidArgument(field, 'one or more strings', reference);
    return [...reference];
  });
}

export function checkStrings(field: string, values: readonly string[]): void {
  if (!Array.isArray(values)) throw invalidArgument(field, 'an array of strings', values);
  // Not with forEach(), which passes over the holes of a sparse array.
  for (let index = 0; index < values.length; index += 1) {
    const value: unknown = values[index];
    if (typeof value !== 'string') throw invalidArgument(`${field}[${index}]`, 'a string', value);
  }
}

/** Names the usual mistake, sacreBLEU's reference streams, where the shape shows it. */
function mismatchedReferences(hypotheses: readonly string[], references: unknown): WgqaError {
  const count = hypotheses.length;
  const allowed = `an array of ${String(count)}, one entry per hypothesis`;
  const isStreams =
    Array.isArray(references) &&
    references.length > 0 &&
    references.every((stream) => Array.isArray(stream) && stream.length === count);
  if (!isStreams) return invalidArgument('references', allowed, references);
  return new WgqaError(
    'INVALID_ARGUMENT',
    `references must be ${allowed}; these look like sacreBLEU's reference streams, ` +
      'which need transposing: references[i] lists the references of hypotheses[i]',
    { field: 'references', allowed },
  );
}
