/** Weights in int8 with a scale per column or row, so that no kernel of ONNX Runtime saturates. */
import type { Model } from '../model/index.ts';
import { forBands, jointShape, matrixShape, type Projections } from './matrices.ts';

const MAX_INT8 = 127;

export interface QuantizedMatrix {
  /** [in, out] of a product, [rows, columns] of a table. */
  readonly values: Int8Array;
  /** [out] of a product, [rows] of a table. */
  readonly scales: Float32Array;
}

/**
 * Joint projections [in, out] with a scale per column: per row of what is stored. Without VNNI, x86
 * multiplies by `vpmaddubsw`, which adds the products of inputs 2i and 2i + 1 in 16 bits, saturated.
 * So the scale is chosen by the largest such pair: with weights of one sign adding up to no more
 * than 128 and inputs to 255, a sum stays within 32640.
 */
export async function quantizeColumns(
  model: Model,
  projections: Projections,
): Promise<QuantizedMatrix> {
  const { rows, columns } = jointShape(model, projections);
  const values = new Int8Array(rows * columns);
  const scales = new Float32Array(columns);
  await forBands(model, projections.parts, (source, { begin, end, inputs, firstColumn }) => {
    for (let row = begin; row < end; ++row) {
      const weights = source.subarray(row * inputs, (row + 1) * inputs);
      scales[firstColumn + row] = scaleOf(largestPair(weights));
    }
    for (let input = 0; input < inputs; ++input) {
      const place = input * columns + firstColumn;
      for (let row = begin; row < end; ++row) {
        values[place + row] = rounded(source[row * inputs + input]! / scales[firstColumn + row]!);
      }
    }
  });
  return { values, scales };
}

/** A table [rows, columns] with a scale per row, which is looked up and never multiplied in int8. */
export async function quantizeRows(model: Model, name: string): Promise<QuantizedMatrix> {
  const { rows, columns } = matrixShape(model, name);
  const values = new Int8Array(rows * columns);
  const scales = new Float32Array(rows);
  await forBands(model, [name], (source, { begin, end }) => {
    for (let row = begin; row < end; ++row) {
      const scale = scaleOf(largestMagnitude(source.subarray(row * columns, (row + 1) * columns)));
      scales[row] = scale;
      for (let i = row * columns; i < (row + 1) * columns; ++i) {
        values[i] = rounded(source[i]! / scale);
      }
    }
  });
  return { values, scales };
}

/** What `largest` is divided by to become 127; 1 for zeros. */
function scaleOf(largest: number): number {
  return Math.fround(largest / MAX_INT8) || 1;
}

function largestMagnitude(weights: Float32Array): number {
  let largest = 0;
  for (const weight of weights) {
    const magnitude = Math.abs(weight);
    if (magnitude > largest) largest = magnitude;
  }
  return largest;
}

/** Largest magnitude to which weights 2i and 2i + 1 of one sign add up; a weight is a pair with 0. */
function largestPair(weights: Float32Array): number {
  let largest = 0;
  for (let i = 0; i < weights.length; i += 2) {
    const first = weights[i]!;
    const second = weights[i + 1] ?? 0;
    const sum = Math.max(Math.abs(first + second), Math.abs(first), Math.abs(second));
    if (sum > largest) largest = sum;
  }
  return largest;
}

/** To the nearest integer; a scale that was rounded down must not lead beyond the range. */
function rounded(value: number): number {
  return Math.max(-MAX_INT8, Math.min(MAX_INT8, Math.round(value)));
}
