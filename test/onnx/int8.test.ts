/**
 * Weights of int8 exports: as fine as 8 bits allow, and so that no kernel of ONNX Runtime saturates.
 * Where the processor has VNNI, the kernels that do are not run here; so the weights are checked.
 */
import { readFile, readdir } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import * as ort from 'onnxruntime-node';
import { exportOnnx } from '../../src/index.ts';
import { InitializerPool, Scope } from '../../src/onnx/graph.ts';
import {
  quantizeColumns,
  quantizeRows,
  type QuantizedMatrix,
} from '../../src/onnx/int8-weights.ts';
import { messages, valueInfo, type GraphMessage, type NodeMessage } from '../../src/onnx/schema.ts';
import { MAX_PROTOBUF_BYTES, onnxFiles } from '../../src/onnx/write-graph.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { TINY_V10, tinyModel } from '../support/tiny-model.ts';
import { makeVariant, VARIANTS } from '../support/variants.ts';

const temporary = useTemporaryDirectories();
const MAX_UINT8 = 255;
const INT16 = { min: -32768, max: 32767 };

interface StoredTensor {
  readonly name: string;
  readonly dataType: number;
  readonly dims: readonly unknown[];
  readonly rawData: Uint8Array;
}

/** Weights and zero points of all products in int8 of a file, those of its branches among them. */
async function readProducts(file: string) {
  const { graph } = messages.Model.decode(await readFile(file)) as unknown as {
    graph: GraphMessage & { initializer: readonly StoredTensor[] };
  };
  const tensors = new Map(graph.initializer.map((tensor) => [tensor.name, tensor]));
  return nodesOf(graph)
    .filter(({ opType }) => opType === 'MatMulInteger')
    .map(({ input }) => ({
      weight: tensors.get(input[1] ?? '')!,
      zeroPoint: tensors.get(input[3] ?? '')!,
    }));
}

function nodesOf({ node }: GraphMessage): NodeMessage[] {
  return node.flatMap((each) => [
    each,
    ...each.attribute.flatMap(({ g }) => (g ? nodesOf(g) : [])),
  ]);
}

/** Largest sums of one column's weights 2i and 2i + 1 where they are positive, and negative. */
function pairSums(values: Int8Array, columns: number, column: number) {
  let [highest, lowest] = [0, 0];
  for (let i = column; i < values.length; i += 2 * columns) {
    const pair = [values[i] ?? 0, values[i + columns] ?? 0] as const;
    highest = Math.max(highest, Math.max(pair[0], 0) + Math.max(pair[1], 0));
    lowest = Math.min(lowest, Math.min(pair[0], 0) + Math.min(pair[1], 0));
  }
  return { highest, lowest };
}

test.each(VARIANTS)('$name: no pair of products leaves 16 bits', async (variant) => {
  await using model = await makeVariant(variant);
  const directory = temporary();
  await exportOnnx(model, directory, { quantize: 'int8' });
  const files = await readdir(path.join(directory, 'onnx'));
  expect(files).toHaveLength(4);
  for (const file of files) {
    const products = await readProducts(path.join(directory, 'onnx', file));
    expect(products.length).toBeGreaterThan(4);
    for (const { weight, zeroPoint } of products) {
      const columns = Number(weight.dims[1]);
      const values = new Int8Array(weight.rawData);
      expect({ type: weight.dataType, length: values.length }).toEqual({
        type: 3,
        length: Number(weight.dims[0]) * columns,
      });
      expect(zeroPoint.rawData.every((zero) => zero === 0)).toBe(true);
      for (let column = 0; column < columns; ++column) {
        const { highest, lowest } = pairSums(values, columns, column);
        expect(MAX_UINT8 * highest).toBeLessThanOrEqual(INT16.max);
        expect(MAX_UINT8 * lowest).toBeGreaterThanOrEqual(INT16.min);
        // Nor is the range left unused: one pair of each column reaches its end.
        expect(Math.max(highest, -lowest)).toBeGreaterThanOrEqual(126);
      }
    }
  }
});

describe('a column', () => {
  const NAME = 'decoder.block.0.layer.0.SelfAttention.q.weight';

  /** The first column's values and scale, of a matrix whose first stored row begins with `weights`. */
  async function firstColumn(weights: readonly number[]) {
    await using model = await tinyModel();
    const { data, shape } = await model.readParameter(NAME);
    const [, inputs = 0] = shape;
    const changed = Float32Array.from(data);
    changed.fill(0, 0, inputs);
    changed.set(weights);
    await model.writeParameter(NAME, { data: changed, shape });
    const { values, scales } = await quantizeColumns(model, { name: NAME, parts: [NAME] });
    const columns = scales.length;
    const column = Array.from({ length: inputs }, (_, i) => values[i * columns]);
    return { column: column.slice(0, weights.length), scale: scales[0] };
  }

  const fround = Math.fround;
  test.each([
    { what: 'of equal pairs', weights: [1, 1], column: [64, 64], scale: 2 / 127 },
    { what: 'of equal negative pairs', weights: [-1, -1], column: [-64, -64], scale: 2 / 127 },
    { what: 'of pairs that cancel', weights: [2, -2], column: [127, -127], scale: 2 / 127 },
    { what: 'with one weight to a pair', weights: [0, 4, 4, 0], column: [0, 127, 127, 0] },
    { what: 'whose neighbours are no pair', weights: [0, -4, -4, 0], column: [0, -127, -127, 0] },
    { what: 'of a pair and a larger single', weights: [1, 1, 4, 0], column: [32, 32, 127, 0] },
    { what: 'of zeros', weights: [0, 0], column: [0, 0], scale: 1 },
  ])('$what', async ({ weights, column, scale = 4 / 127 }) => {
    expect(await firstColumn(weights)).toEqual({ column, scale: fround(scale) });
  });
});

test('weights are at most half a step from what they stand for', async () => {
  await using model = await tinyModel();
  const name = 'encoder.block.0.layer.1.DenseReluDense.wo.weight';
  const { data, shape } = await model.readParameter(name);
  const [rows = 0, inputs = 0] = shape;
  const product = await quantizeColumns(model, { name, parts: [name] });
  const table = await quantizeRows(model, name);
  for (let row = 0; row < rows; ++row) {
    for (let input = 0; input < inputs; ++input) {
      const weight = data[row * inputs + input]!;
      const distances = [
        distance(weight, product.values[input * rows + row]!, product.scales[row]!),
        distance(weight, table.values[row * inputs + input]!, table.scales[row]!),
      ];
      expect(Math.max(...distances)).toBeLessThan(0.5001);
    }
    // A table is never multiplied in int8: its range is that of its largest element.
    const values = table.values.subarray(row * inputs, (row + 1) * inputs);
    expect(Math.max(...values.map(Math.abs))).toBe(127);
  }
});

function distance(weight: number, value: number, scale: number): number {
  return Math.abs(weight - value * scale) / scale;
}

/** Fails on processors without VNNI where a pair leaves 16 bits, or pairs are not 2i and 2i + 1. */
test.each([
  { inputs: 64, columns: 48 },
  { inputs: 66, columns: 29 },
  { inputs: 37, columns: 33 },
])('[$inputs, $columns]: products with the largest inputs are exact', async (shape) => {
  const { inputs, columns } = shape;
  await using model = await tinyModel({
    ...TINY_V10,
    d_model: inputs,
    num_heads: 1,
    d_kv: columns,
  });
  const name = 'encoder.block.0.layer.0.SelfAttention.q.weight';
  const matrix = await quantizeColumns(model, { name, parts: [name] });
  const session = await productSession(matrix, shape);
  for (const rows of [1, 2, 3, 4, 5, 8]) {
    const a = Uint8Array.from({ length: rows * inputs }, (_, i) =>
      Math.sin(i * i + rows) < -0.4 ? 0 : MAX_UINT8,
    );
    const { c } = await session.run({ a: new ort.Tensor('uint8', a, [rows, inputs]) });
    const expected = Array.from({ length: rows * columns }, (_, at) => {
      const [row, column] = [Math.floor(at / columns), at % columns];
      let sum = 0;
      for (let i = 0; i < inputs; ++i) {
        sum += (a[row * inputs + i]! - ZERO_POINT) * matrix.values[i * columns + column]!;
      }
      return sum;
    });
    expect([...(c!.data as Int32Array)]).toEqual(expected);
  }
});

const ZERO_POINT = 117;

/** A graph of one product, as the exported graphs have them: inputs `a` [rows, inputs] in uint8. */
async function productSession(
  { values, scales }: QuantizedMatrix,
  { inputs, columns }: { readonly inputs: number; readonly columns: number },
): Promise<ort.InferenceSession> {
  expect(scales).toHaveLength(columns);
  const pool = new InitializerPool();
  const scope = new Scope(pool);
  const weights = pool.add({
    name: 'weights',
    type: 'int8',
    shape: [inputs, columns],
    read: () => new Uint8Array(values.buffer as ArrayBuffer),
  });
  const zeros = pool.add({
    name: 'zeros',
    type: 'int8',
    shape: [columns],
    read: () => new Uint8Array(columns),
  });
  const zeroPoint = pool.add({
    name: 'zero_point',
    type: 'uint8',
    shape: [],
    read: () => Uint8Array.of(ZERO_POINT),
  });
  const product = scope.add('MatMulInteger', ['a', weights, zeroPoint, zeros]);
  const graph = scope.toGraph(
    'product',
    [valueInfo('a', 'uint8', ['rows', inputs])],
    [[product, valueInfo('c', 'int32', ['rows', columns])]],
  );
  const file = { name: 'product.onnx', graph, initializers: pool.all() };
  const chunks: Uint8Array[] = [];
  for (const { chunks: read } of onnxFiles(file, MAX_PROTOBUF_BYTES, () => undefined)) {
    for await (const chunk of read()) chunks.push(chunk);
  }
  return ort.InferenceSession.create(Buffer.concat(chunks), { intraOpNumThreads: 1 });
}
