/** The products of a model with its weights: what differs between a float32 and an int8 graph. */
import type { Model } from '../model/index.ts';
import type { Scope } from './graph.ts';
import { jointShape, matrixShape, transposedFloats, type Projections } from './matrices.ts';

export interface Precision {
  /** What file names end with, as transformers.js and Optimum name them. */
  readonly suffix: '' | '_quantized';
  /** [..., in] → [..., out], or where `projections` has several parts, one after the other. */
  project(scope: Scope, input: string, projections: Projections): string;
  /** Token ids [...] → their rows [..., d_model] of the table `name`. */
  embed(scope: Scope, ids: string, name: string): string;
  /** [batch, tokens, d_model] → [batch, tokens, vocabulary], with the table `name`. */
  score(scope: Scope, input: string, name: string): string;
}

export class Float32Precision implements Precision {
  readonly suffix = '';
  readonly #model: Model;

  constructor(model: Model) {
    this.#model = model;
  }

  project(scope: Scope, input: string, projections: Projections): string {
    const { rows, columns } = jointShape(this.#model, projections);
    const weight = scope.pool.add({
      name: projections.name,
      type: 'float32',
      shape: [rows, columns],
      read: () => transposedFloats(this.#model, projections),
    });
    return scope.add('MatMul', [input, weight]);
  }

  embed(scope: Scope, ids: string, name: string): string {
    return scope.add('Gather', [parameter(scope, this.#model, name), ids]);
  }

  /** Gemm takes the table as it is stored, so that tied models hold it once. */
  score(scope: Scope, input: string, name: string): string {
    const { rows: vocab, columns: dModel } = matrixShape(this.#model, name);
    const flat = scope.add('Reshape', [input, scope.pool.integers([-1, dModel])]);
    const table = parameter(scope, this.#model, name);
    const logits = scope.add('Gemm', [flat, table], { transB: 1 });
    const leading = scope.add('Shape', [input], { start: 0, end: 2 });
    const shape = scope.add('Concat', [leading, scope.pool.integers([vocab])], { axis: 0 });
    return scope.add('Reshape', [logits, shape]);
  }
}

/** A parameter in float32, in the shape in which it is stored. */
export function parameter(scope: Scope, model: Model, name: string): string {
  const { shape } = model.parameters().get(name) ?? { shape: [] };
  const read = async (): Promise<Uint8Array> => {
    const { data } = await model.readParameter(name);
    return new Uint8Array(data.buffer, data.byteOffset, data.byteLength);
  };
  return scope.pool.add({ name, type: 'float32', shape, read });
}
