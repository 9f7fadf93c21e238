/** A model's matrices in the layout of ONNX: [in, out], several projections of one input as one. */
import { setImmediate } from 'node:timers/promises';
import { WgqaError } from '../errors.ts';
import type { Model } from '../model/index.ts';

/** Projections of the same input, each stored [out, in], that are computed by one product. */
export interface Projections {
  /** Name of the joint matrix. */
  readonly name: string;
  readonly parts: readonly string[];
}

export interface Matrix {
  readonly rows: number;
  readonly columns: number;
}

/** Shape of the joint matrix: [in, sum of out]. */
export function jointShape(model: Model, { parts }: Projections): Matrix {
  const shapes = parts.map((part) => matrixShape(model, part));
  return {
    rows: shapes[0]?.columns ?? 0,
    columns: shapes.reduce((sum, { rows }) => sum + rows, 0),
  };
}

export function matrixShape(model: Model, name: string): Matrix {
  const [rows, columns] = model.parameters().get(name)?.shape ?? [];
  if (rows === undefined || columns === undefined) {
    throw new WgqaError('INTERNAL', `the model has no matrix ${name}`);
  }
  return { rows, columns };
}

/** Rows that are transposed together: as many as a cache line has elements, several times over. */
const BAND_ROWS = 64;
/** Longest work between two turns of the event loop, but for the band that passes it. */
const SLICE_MILLISECONDS = 8;

/** Turns a band of rows [begin, end) of `source`, `inputs` wide, into columns of the result. */
export type WriteBand = (source: Float32Array, band: Band) => void;

export interface Band {
  readonly begin: number;
  readonly end: number;
  readonly inputs: number;
  /** Columns of the result that stand before those of `source`. */
  readonly firstColumn: number;
}

/** Reads the parts one after the other and hands them over in bands; the event loop goes on. */
export async function forBands(
  model: Model,
  parts: readonly string[],
  write: WriteBand,
): Promise<void> {
  let firstColumn = 0;
  for (const part of parts) {
    const { data, shape } = await model.readParameter(part);
    const [rows = 0, inputs = 0] = shape;
    let sliceBegin = performance.now();
    for (let begin = 0; begin < rows; begin += BAND_ROWS) {
      const end = Math.min(begin + BAND_ROWS, rows);
      write(data, { begin, end, inputs, firstColumn });
      if (performance.now() - sliceBegin < SLICE_MILLISECONDS) continue;
      await setImmediate();
      sliceBegin = performance.now();
    }
    firstColumn += rows;
  }
}

/** Joint projections as [in, out] in float32. */
export async function transposedFloats(model: Model, projections: Projections) {
  const { rows, columns } = jointShape(model, projections);
  const target = new Float32Array(rows * columns);
  await forBands(model, projections.parts, (source, { begin, end, inputs, firstColumn }) => {
    for (let input = 0; input < inputs; ++input) {
      const place = input * columns + firstColumn;
      for (let row = begin; row < end; ++row) target[place + row] = source[row * inputs + input]!;
    }
  });
  return new Uint8Array(target.buffer);
}
