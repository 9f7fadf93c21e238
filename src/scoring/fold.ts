/** Folding, and the proof that it changes nothing. */
import { WgqaError, type Example, type Model } from '../index.ts';

/** Pairs whose logits are compared. */
const COMPARED_PAIRS = 8;
/** Folding reorders no sum; what is left is rounding in float32. */
const TOLERANCE = 1e-5;

export interface Folded {
  readonly folded: Model;
  /** Largest difference between their logits, relative to the largest logit. */
  readonly error: number;
}

/** @throws WgqaError INTERNAL if folded and unfolded logits differ by more than rounding */
export async function foldAndCompare(
  model: Model,
  examples: readonly Example[],
  signal: AbortSignal | undefined,
): Promise<Folded> {
  const compared = examples.slice(0, COMPARED_PAIRS);
  const input = {
    inputIds: compared.map(({ inputIds }) => inputIds),
    labels: compared.map(({ labels }) => labels),
  };
  const options = signal ? { signal } : {};
  const folded = await model.fold();
  try {
    const [before, after] = [
      await model.forward(input, options),
      await folded.forward(input, options),
    ];
    const error = relativeDifference(before.logits.data, after.logits.data);
    if (error <= TOLERANCE) return { folded, error };
    const message = `folding changed the logits by ${error} of the largest`;
    throw new WgqaError('INTERNAL', message, { field: 'logits', allowed: `at most ${TOLERANCE}` });
  } catch (error) {
    await folded.dispose();
    throw error;
  }
}

/** NaN anywhere gives NaN, which is no small difference. */
function relativeDifference(expected: Float32Array, actual: Float32Array): number {
  let difference = 0;
  let magnitude = 0;
  for (const [i, value] of expected.entries()) {
    const distance = Math.abs(value - (actual[i] ?? NaN));
    if (Number.isNaN(distance)) return NaN;
    difference = Math.max(difference, distance);
    magnitude = Math.max(magnitude, Math.abs(value));
  }
  return difference === 0 ? 0 : difference / magnitude;
}
