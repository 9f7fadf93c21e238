/** Running exported graphs in ONNX Runtime, input by input. */
import path from 'node:path';
import * as ort from 'onnxruntime-node';
import type { Model, Tensor } from '../../src/index.ts';

export type Values = Record<string, ort.Tensor>;

export async function openGraph(directory: string, file: string): Promise<ort.InferenceSession> {
  return ort.InferenceSession.create(path.join(directory, 'onnx', `${file}.onnx`), {
    intraOpNumThreads: 1,
    logSeverityLevel: 3,
  });
}

/** Rows of one length as int64 [rows, columns]. */
export function integers(rows: readonly (readonly number[])[]): ort.Tensor {
  const columns = rows[0]?.length ?? 0;
  return new ort.Tensor('int64', BigInt64Array.from(rows.flat(), BigInt), [rows.length, columns]);
}

export function bool(value: boolean): ort.Tensor {
  return new ort.Tensor('bool', [value], [1]);
}

export function toTensor(value: ort.Tensor | undefined): Tensor {
  if (value === undefined) throw new Error('the graph has no such output');
  return { data: value.data as Float32Array, shape: [...value.dims] };
}

/** What a step gives out as present keys and values, as the past of the next one. */
export function pastOf(outputs: ort.InferenceSession.ReturnType): Values {
  const entries = Object.entries(outputs).filter(([name]) => name.startsWith('present.'));
  return Object.fromEntries(
    entries.map(([name, value]) => [name.replace('present', 'past_key_values'), value]),
  );
}

/** The empty past of `heads` heads that transformers.js passes to a first step. */
export function emptyPast(session: ort.InferenceSession, model: Model, rows: number): Values {
  const { num_heads: heads, d_kv: headDim } = model.config;
  const names = session.inputNames.filter((name) => name.startsWith('past_key_values.'));
  const empty = new ort.Tensor('float32', new Float32Array(), [rows, heads, 0, headDim]);
  return Object.fromEntries(names.map((name) => [name, empty]));
}
