/** Reading reference tensors and comparing with them. */
import { readFile } from 'node:fs/promises';
import { expect } from '@jest/globals';
import { readSafetensorsHeader } from '../../src/checkpoint/safetensors.ts';
import type { Tensor } from '../../src/index.ts';

export interface ReferenceTensor {
  readonly shape: number[];
  readonly data: Float32Array | BigInt64Array;
}

/** All tensors of a safetensors file of F32 and I64. */
export async function readTensors(file: string): Promise<Map<string, ReferenceTensor>> {
  const { tensors } = await readSafetensorsHeader(file);
  const content = await readFile(file);
  return new Map(
    [...tensors].map(([name, { dtype, shape, offset, bytes }]) => {
      const { buffer } = new Uint8Array(content.subarray(offset, offset + bytes));
      const data = dtype === 'I64' ? new BigInt64Array(buffer) : new Float32Array(buffer);
      return [name, { shape: [...shape], data }];
    }),
  );
}

// Jest looks up globals through an interceptor, which takes longer than the arithmetic.
const { abs } = Math;

/** Largest difference over the largest magnitude of `expected`; infinite where either is NaN. */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Infinity;
  let difference = 0;
  let magnitude = 0;
  for (let i = 0; i < expected.length; ++i) {
    const e = expected[i] ?? 0;
    const d = abs((actual[i] ?? 0) - e);
    if (d !== d) return Infinity;
    if (d > difference) difference = d;
    if (abs(e) > magnitude) magnitude = abs(e);
  }
  return difference === 0 ? 0 : difference / magnitude;
}

/** Fails with the tensor's name unless shape and values agree to `tolerance` of the largest value. */
export function expectClose(
  name: string,
  actual: Tensor | undefined,
  expected: ReferenceTensor | Tensor | undefined,
  tolerance: number,
): void {
  if (!(expected?.data instanceof Float32Array)) throw new Error(`no reference for ${name}`);
  expect({ name, shape: actual?.shape }).toEqual({ name, shape: expected.shape });
  const error = relativeError(actual?.data ?? [], expected.data);
  expect({ name, tolerance, exceededBy: error <= tolerance ? 0 : error }).toEqual({
    name,
    tolerance,
    exceededBy: 0,
  });
}
