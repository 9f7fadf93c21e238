/** Who takes part, in which precision, and with which model. */
import path from 'node:path';
import { createModel, exportOnnx } from '../../src/index.ts';
import { SHAPES, type ShapeName } from '../../src/bench/shapes.ts';
import type { LoadOptions } from './protocol.ts';

/** Directories of one model: as it is, with a quarter of its K/V heads, and exported. */
export type Variant = 'multi-head' | 'quarter' | 'onnx';

export interface ContenderSpec {
  /** The file of this folder that runs it. */
  readonly program: string;
  readonly variant: Variant;
  readonly dtype: LoadOptions['dtype'];
}

export const CONTENDERS = {
  'wgqa float32': { program: 'wgqa.ts', variant: 'multi-head', dtype: 'float32' },
  'wgqa bfloat16': { program: 'wgqa.ts', variant: 'multi-head', dtype: 'bfloat16' },
  'wgqa int8': { program: 'wgqa.ts', variant: 'multi-head', dtype: 'int8' },
  'WGQA, ¼ of the heads, bfloat16': { program: 'wgqa.ts', variant: 'quarter', dtype: 'bfloat16' },
  'onnxruntime-node float32': { program: 'onnxruntime.ts', variant: 'onnx', dtype: 'float32' },
  'onnxruntime-node int8': { program: 'onnxruntime.ts', variant: 'onnx', dtype: 'int8' },
  'transformers.js float32': { program: 'transformers.ts', variant: 'onnx', dtype: 'float32' },
} as const satisfies Readonly<Record<string, ContenderSpec>>;

export type ContenderName = keyof typeof CONTENDERS;

/** Writes random weights of a shape for all contenders, in folders of `directory`. */
export async function writeVariants(shape: ShapeName, directory: string): Promise<void> {
  const at = (variant: Variant): string => path.join(directory, variant);
  await using model = await createModel(SHAPES[shape]);
  await model.save(at('multi-head'));
  await exportOnnx(model, at('onnx'));
  await exportOnnx(model, at('onnx'), { quantize: 'int8' });
  const kvHeads = SHAPES[shape].num_heads / 4;
  await using converted = await model.convert({ kvHeads, merge: 'weighted' });
  await using folded = await converted.fold();
  await folded.save(at('quarter'));
}
