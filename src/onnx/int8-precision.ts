/**
 * Products in int8, in the form that ONNX Runtime's `quantize_dynamic(per_channel=True)` writes and
 * its kernels recognise: inputs are quantised to uint8 when they are there, one scale and zero point
 * per tensor; weights are symmetric int8, one scale per column.
 */
import type { Model } from '../model/index.ts';
import type { Scope } from './graph.ts';
import { quantizeColumns, quantizeRows, type QuantizedMatrix } from './int8-weights.ts';
import { jointShape, matrixShape, type Projections } from './matrices.ts';
import type { Precision } from './precision.ts';

export class Int8Precision implements Precision {
  readonly suffix = '_quantized';
  readonly #model: Model;
  /** Inputs that are quantised already, by scope: Q, K and V may be of one. */
  readonly #quantized = new WeakMap<Scope, Map<string, readonly string[]>>();
  /** The matrix that was read last. */
  #last: { readonly name: string; readonly matrix: Promise<QuantizedMatrix> } | undefined;

  constructor(model: Model) {
    this.#model = model;
  }

  project(scope: Scope, input: string, projections: Projections): string {
    const { rows, columns } = jointShape(this.#model, projections);
    const { name } = projections;
    const matrix = (): Promise<QuantizedMatrix> =>
      this.#matrix(name, () => quantizeColumns(this.#model, projections));
    const values = scope.pool.add({
      name: `${name}_quantized`,
      type: 'int8',
      shape: [rows, columns],
      read: async () => bytesOf((await matrix()).values),
    });
    const scales = scope.pool.add({
      name: `${name}_scale`,
      type: 'float32',
      shape: [columns],
      read: async () => bytesOf((await matrix()).scales),
    });
    const zero = scope.pool.add({
      name: `${name}_zero_point`,
      type: 'int8',
      shape: [columns],
      read: () => new Uint8Array(columns),
    });
    return this.#multiply(scope, input, { values, scales, zero });
  }

  /** Rows are quantised one by one: a table by columns would lose rare tokens. */
  embed(scope: Scope, ids: string, name: string): string {
    const { rows: vocab, columns: dModel } = matrixShape(this.#model, name);
    const matrix = (): Promise<QuantizedMatrix> =>
      this.#matrix(`${name}_rows`, () => quantizeRows(this.#model, name));
    const table = scope.pool.add({
      name: `${name}_rows_quantized`,
      type: 'int8',
      shape: [vocab, dModel],
      read: async () => bytesOf((await matrix()).values),
    });
    const scales = scope.pool.add({
      name: `${name}_rows_scale`,
      type: 'float32',
      shape: [vocab, 1],
      read: async () => bytesOf((await matrix()).scales),
    });
    const values = scope.add('Cast', [scope.add('Gather', [table, ids])], { to: 1 });
    return scope.add('Mul', [values, scope.add('Gather', [scales, ids])]);
  }

  score(scope: Scope, input: string, name: string): string {
    return this.project(scope, input, { name: `${name}_transposed`, parts: [name] });
  }

  #multiply(
    scope: Scope,
    input: string,
    weight: { readonly values: string; readonly scales: string; readonly zero: string },
  ): string {
    const [quantized = '', scale = '', zeroPoint = ''] = this.#quantize(scope, input);
    const operands = [quantized, weight.values, zeroPoint, weight.zero];
    const product = scope.add('Cast', [scope.add('MatMulInteger', operands)], { to: 1 });
    return scope.add('Mul', [product, scope.add('Mul', [scale, weight.scales])]);
  }

  #quantize(scope: Scope, input: string): readonly string[] {
    const known = this.#quantized.get(scope) ?? new Map<string, readonly string[]>();
    this.#quantized.set(scope, known);
    const found = known.get(input) ?? scope.addMany('DynamicQuantizeLinear', [input], {}, 3);
    known.set(input, found);
    return found;
  }

  /** Quantised once for both of a matrix's initializers, which are written one after the other. */
  async #matrix(name: string, make: () => Promise<QuantizedMatrix>): Promise<QuantizedMatrix> {
    if (this.#last?.name !== name) this.#last = { name, matrix: make() };
    return this.#last.matrix;
  }
}

function bytesOf({ buffer, byteOffset, byteLength }: Int8Array | Float32Array): Uint8Array {
  return new Uint8Array(buffer as ArrayBuffer, byteOffset, byteLength);
}
