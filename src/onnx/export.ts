/** Export of a model as ONNX graphs, in the directory layout of Optimum and transformers.js. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import {
  makeDirectory,
  textFile,
  writeDirectory,
  type OutputFile,
} from '../checkpoint/atomic-directory.ts';
import {
  carriedFiles,
  CONFIG_FILE,
  configText,
  GENERATION_CONFIG_FILE,
} from '../checkpoint/checkpoint.ts';
import { architectureOf } from '../checkpoint/config.ts';
import {
  implementationOf,
  throwIfAborted,
  type Model,
  type ModelConfig,
  type T5Model,
} from '../model/index.ts';
import {
  checkOptions,
  checkValue,
  functionRule,
  integerIn,
  oneOf,
  pathRule,
  signalRule,
  type Rules,
} from '../options.ts';
import { buildDecoder, buildDecoderWithPast, buildMergedDecoder } from './decoder.ts';
import { buildEncoder } from './encoder.ts';
import { initializerBytes } from './graph.ts';
import { Int8Precision } from './int8-precision.ts';
import type { Blueprint } from './layers.ts';
import { ONNX_FOLDER } from './names.ts';
import { Float32Precision } from './precision.ts';
import { MAX_PROTOBUF_BYTES, onnxFiles, type OnnxModel } from './write-graph.ts';

export interface ExportOnnxOptions {
  /**
   * 'int8': weights in int8 with a scale per column, inputs of products quantised when they are
   * there, exact with and without VNNI; files are named `*_quantized.onnx`. Default: float32.
   */
  readonly quantize?: 'int8';
  /**
   * A graph whose file would be larger has its weights beside it, in `<file>_data`. Default: the
   * limit of the format, 2^31 - 1.
   */
  readonly maxFileBytes?: number;
  readonly signal?: AbortSignal;
  /** Called while weights are written, with counts of bytes. */
  readonly onProgress?: (done: number, total: number) => void;
}

export interface ExportOnnxResult {
  /** The files written, relative to the directory. */
  readonly files: readonly string[];
  /** Bytes of all weights in them. */
  readonly weightBytes: number;
}

const RULES = {
  quantize: oneOf('int8'),
  maxFileBytes: integerIn(1, MAX_PROTOBUF_BYTES),
  signal: signalRule,
  onProgress: functionRule<(done: number, total: number) => void>(),
} satisfies Rules;

const DATA_SUFFIX = '_data';

/**
 * Writes the model to `directory`, which is made if it is not there: `config.json`,
 * `generation_config.json`, the tokenizer's files, and in `onnx/` the encoder, the decoder's first
 * step, its later steps with past keys and values as inputs, and both steps in one file. Merge and
 * expansion weights are folded. A directory may hold a float32 and an int8 export of the same model.
 * Graphs come first and `config.json` last; what fails or is aborted leaves no part of a file.
 * @throws WgqaError INVALID_ARGUMENT, DISPOSED, ABORTED, NO_SPACE, IO
 */
export async function exportOnnx(
  model: Model,
  directory: string,
  options: ExportOnnxOptions = {},
): Promise<ExportOnnxResult> {
  const source = implementationOf(model);
  checkValue(directory, pathRule, 'directory');
  const { maxFileBytes = MAX_PROTOBUF_BYTES, ...given } = checkOptions(options, RULES);
  throwIfAborted(given.signal);
  // A handle of its own: what is trained meanwhile is not exported.
  await using exported = await source.fold(given.signal ? { signal: given.signal } : {});
  const Precision = given.quantize === 'int8' ? Int8Precision : Float32Precision;
  const graphs = buildGraphs({
    model: exported,
    config: exported.config,
    precision: new Precision(exported),
  });
  const weightBytes = graphs
    .flatMap(({ initializers }) => initializers)
    .reduce((sum, initializer) => sum + initializerBytes(initializer), 0);
  let done = 0;
  const onWritten = (bytes: number): void => {
    throwIfAborted(given.signal);
    given.onProgress?.((done += bytes), weightBytes);
  };
  const files = graphs.flatMap((graph) => onnxFiles(graph, maxFileBytes, onWritten));
  const names = await writeExport(exported, directory, files);
  return { files: names, weightBytes };
}

function buildGraphs(blueprint: Blueprint): OnnxModel[] {
  return [buildEncoder, buildDecoder, buildDecoderWithPast, buildMergedDecoder].map((build) =>
    build(blueprint),
  );
}

async function writeExport(
  model: Model,
  directory: string,
  graphs: readonly OutputFile[],
): Promise<string[]> {
  const removeDirectories = await makeDirectory(directory);
  const written = graphs.map(({ name }) => name);
  const isObsolete = (name: string): boolean =>
    name.endsWith(DATA_SUFFIX) && written.includes(name.slice(0, -DATA_SUFFIX.length));
  try {
    await writeDirectory(path.join(directory, ONNX_FOLDER), graphs, { isObsolete });
  } catch (error) {
    await removeDirectories();
    throw error;
  }
  const settings = await settingsFiles(implementationOf(model), directory);
  await writeDirectory(directory, settings);
  return [
    ...settings.map(({ name }) => name),
    ...written.map((name) => path.posix.join(ONNX_FOLDER, name)),
  ];
}

/** Everything but the graphs; the configuration stands last. */
async function settingsFiles(
  { config, spellings, directory: from }: T5Model,
  directory: string,
): Promise<OutputFile[]> {
  const carried = await carriedFiles(from);
  const hasGenerationConfig = carried.some(({ name }) => name === GENERATION_CONFIG_FILE);
  const names = await readdir(path.join(directory, ONNX_FOLDER));
  const external = names.filter((name) => name.endsWith(`.onnx${DATA_SUFFIX}`));
  return [
    ...carried,
    ...(hasGenerationConfig ? [] : [jsonFile(GENERATION_CONFIG_FILE, generationConfig(config))]),
    textFile(CONFIG_FILE, configText(exportedConfig(config, external), spellings)),
  ];
}

function generationConfig(config: ModelConfig): Readonly<Record<string, unknown>> {
  const { decoder_start_token_id, eos_token_id, pad_token_id } = config;
  return { decoder_start_token_id, eos_token_id, pad_token_id };
}

/**
 * With what stock T5 configurations say and transformers.js asks for; it does not look for weights
 * beside a graph unless it is told of them.
 */
function exportedConfig(config: ModelConfig, external: readonly string[]) {
  const stock = { architectures: [architectureOf(config)], is_encoder_decoder: true };
  if (external.length === 0) return { ...stock, ...config };
  const files = external.map((name) => [name.slice(0, -DATA_SUFFIX.length), 1]);
  const settings = { use_external_data_format: Object.fromEntries(files) as unknown };
  return { ...stock, ...config, 'transformers.js_config': settings };
}

function jsonFile(name: string, value: unknown): OutputFile {
  return textFile(name, `${JSON.stringify(value, null, 2)}\n`);
}
