/** The kinds of model that every whole-model test runs over, and their float64 counterparts. */
import type { ConvertOptions, Model, ModelConfig, Tensor } from '../../src/index.ts';
import { Float64T5, type Matrix, type Parameter, type Row, type Rounding } from './t5-float64.ts';
import { TINY_V10, TINY_V11, tinyModel } from './tiny-model.ts';

export interface Variant {
  readonly name: string;
  readonly config: Record<string, unknown>;
  /** Absent: multi-head. */
  readonly conversion?: ConvertOptions;
}

const CONVERSIONS: readonly (readonly [string, ConvertOptions | undefined])[] = [
  ['MHA', undefined],
  ['GQA', { kvHeads: 2, merge: 'mean' }],
  ['WMQA', weighted(1, 'head')],
  ['WGQA', weighted(2, 'head')],
  ['ROWWGQA', weighted(2, 'row')],
  ['COLWGQA', weighted(2, 'column')],
];

const ARCHITECTURES = [
  ['v1.0', TINY_V10],
  ['v1.1', TINY_V11],
] as const;

/** Merge weights are drawn at random, so that no two heads weigh the same by accident. */
function weighted(kvHeads: number, granularity: 'head' | 'row' | 'column'): ConvertOptions {
  const modules = ['decoder.self', 'decoder.cross', 'encoder.self'] as const;
  return { kvHeads, merge: 'weighted', granularity, init: 'random', seed: 5, modules };
}

/** Both architectures in multi-head, mean-pooled and every weighted form. */
export const VARIANTS: readonly Variant[] = ARCHITECTURES.flatMap(([architecture, config]) =>
  CONVERSIONS.map(([kind, conversion]) => {
    const name = `${kind}, T5 ${architecture}`;
    return conversion === undefined ? { name, config } : { name, config, conversion };
  }),
);

export async function makeVariant({ config, conversion }: Variant): Promise<Model> {
  const multiHead = await tinyModel(config);
  if (conversion === undefined) return multiHead;
  const converted = await multiHead.convert(conversion);
  await multiHead.dispose();
  return converted;
}

/** A model's parameters in float64, which a test may change. */
export async function float64Parameters(
  model: Model,
): Promise<Map<string, Parameter & { readonly data: Float64Array }>> {
  const parameters = new Map<string, Parameter & { readonly data: Float64Array }>();
  for (const name of model.parameters().keys()) {
    const { data, shape } = await model.readParameter(name);
    parameters.set(name, { shape, data: Float64Array.from(data) });
  }
  return parameters;
}

export async function toFloat64(model: Model, round?: Rounding): Promise<Float64T5> {
  return new Float64T5(float64Config(model.config), await float64Parameters(model), round);
}

/** A model's configuration without the keys that are absent. */
export function float64Config({ num_key_value_heads: kvHeads, ...config }: ModelConfig) {
  return kvHeads === undefined ? config : { ...config, num_key_value_heads: kvHeads };
}

/** Ragged rows with labels, as the float64 model takes them: T5 starts with the padding token. */
export function teacherForcedRows(batch: {
  readonly inputIds: readonly (readonly number[])[];
  readonly labels: readonly (readonly number[])[];
}): Row[] {
  return batch.inputIds.map((source, i) => {
    const labels = batch.labels[i] ?? [];
    return { source, labels, decoderInputs: [0, ...labels.slice(0, -1)] };
  });
}

/** One row of a padded block [rows, columns, width] without its padding, [length, width]. */
export function blockRow(block: Tensor, row: number, length: number): Float32Array {
  const [, columns = 0, width = 0] = block.shape;
  const start = row * columns * width;
  return block.data.subarray(start, start + length * width);
}

/** Matrices below one another. */
export function concatenate(matrices: readonly Matrix[]): Float64Array {
  return Float64Array.from(matrices.flatMap(({ data }) => [...data]));
}
