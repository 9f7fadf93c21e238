/** Which compute types the accuracy that is asked for admits. */
import type { ComputeDtype, Device, FloatDtype } from '../native.ts';
import type { Accuracy } from './types.ts';

/** The types that hold every value of a file's type: nothing is lost by computing in them. */
const AS_EXACT_AS: Readonly<Record<FloatDtype, readonly ComputeDtype[]>> = {
  float32: ['float32'],
  float16: ['float32', 'float16'],
  bfloat16: ['float32', 'bfloat16'],
};

/** Without a word about files: what is at least as exact. */
const AT_LEAST: Readonly<Record<Accuracy, readonly ComputeDtype[]>> = {
  float32: ['float32'],
  bfloat16: ['float32', 'float16', 'bfloat16'],
  int8: ['float32', 'float16', 'bfloat16', 'int8'],
};

/**
 * The most exact type first. Without `accuracy` those at least as exact as the file's weights. The
 * CPU has no float16.
 */
export function admittedDtypes(
  file: FloatDtype,
  accuracy: Accuracy | undefined,
  device: Device,
): readonly ComputeDtype[] {
  const exact = accuracy === undefined ? AS_EXACT_AS[file] : AT_LEAST[accuracy];
  return exact.filter((dtype) => device === 'cuda' || dtype !== 'float16');
}

/** The type that holds all values of weights in these. */
export function widestDtype(dtypes: Iterable<FloatDtype>): FloatDtype {
  const [first, ...others] = new Set(dtypes);
  return first !== undefined && others.length === 0 ? first : 'float32';
}
