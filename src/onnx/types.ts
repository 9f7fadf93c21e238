/** The public types of running exported models. */
import type { ResolveModelOptions } from '../hub/index.ts';
import type { Tokenizer } from '../tokenizer/index.ts';

/** An execution provider of ONNX Runtime by name ("cpu", "cuda"), or with its settings. */
export type ExecutionProvider = string | { readonly name: string; readonly [key: string]: unknown };

export interface LoadOnnxOptions extends Omit<ResolveModelOptions, 'onProgress'> {
  /** In the order in which they are tried. Default: ['cpu']. */
  readonly executionProviders?: readonly ExecutionProvider[];
  /** Threads of a step. Default: one per core. */
  readonly threads?: number;
  /** 'int8' takes `*_quantized.onnx`, 'none' the others. Default: 'none', unless only the former are there. */
  readonly quantize?: 'int8' | 'none';
  /** Default: the tokenizer of the directory, loaded when first needed. */
  readonly tokenizer?: Tokenizer;
}
