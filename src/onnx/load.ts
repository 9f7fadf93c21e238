/** Finding the graphs of an exported directory and starting an engine over them. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { checkDirectory, CONFIG_FILE, readConfig } from '../checkpoint/checkpoint.ts';
import { readError } from '../checkpoint/io-errors.ts';
import { tokenizerRule } from '../decode/options.ts';
import { RequestReader } from '../decode/request-reader.ts';
import { WgqaError } from '../errors.ts';
import { abortError, throwIfAborted } from '../model/index.ts';
import {
  arrayOf,
  checkOptions,
  checkValue,
  either,
  integerIn,
  objectRule,
  oneOf,
  signalRule,
  stringRule,
  type Rules,
} from '../options.ts';
import { onSignal, unlessAbandoned } from '../decode/abandon.ts';
import { EngineThread } from './engine-thread.ts';
import { OnnxEngine } from './engine.ts';
import {
  DECODER_FILE,
  DECODER_WITH_PAST_FILE,
  ENCODER_FILE,
  MERGED_DECODER_FILE,
  ONNX_FOLDER,
} from './names.ts';
import type { ThreadSettings } from './protocol.ts';
import { MAX_SEQUENCES } from './request-check.ts';
import type { ExecutionProvider, LoadOnnxOptions } from './types.ts';

const RULES = {
  executionProviders: arrayOf(either(stringRule, objectRule), 1),
  threads: integerIn(1, 1024),
  quantize: oneOf('int8', 'none'),
  tokenizer: tokenizerRule,
  signal: signalRule,
} satisfies Rules;

const NO_LIMITS = {
  requests: Infinity,
  sequences: MAX_SEQUENCES,
  inputTokens: Infinity,
  newTokens: Infinity,
  timeout: Infinity,
};

/**
 * Loads what `exportOnnx` has written, in ONNX Runtime and a thread of its own.
 * `onnxruntime-node` must be installed beside this package.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, INVALID_ARGUMENT, PEER_UNAVAILABLE, ABORTED
 */
export async function loadOnnx(
  directory: string,
  options: LoadOnnxOptions = {},
): Promise<OnnxEngine> {
  checkValue(directory, stringRule, 'directory');
  const { signal, tokenizer, ...given } = checkOptions(options, RULES);
  throwIfAborted(signal);
  await checkDirectory(directory);
  const config = await readConfig(path.join(directory, CONFIG_FILE));
  const thread = new EngineThread({
    executionProviders: (given.executionProviders as ExecutionProvider[] | undefined) ?? ['cpu'],
    threads: given.threads ?? 0,
    files: await findGraphs(directory, given.quantize),
    layers: config.num_decoder_layers,
    vocabSize: config.vocab_size,
  });
  const engine = new OnnxEngine(
    thread,
    new RequestReader({ config, directory }, NO_LIMITS, tokenizer),
  );
  await unlessAbandoned(thread.ready, onSignal(signal, abortError), () => {
    thread.ready.then(() => thread.close()).catch(() => undefined);
  });
  return engine;
}

async function findGraphs(
  directory: string,
  quantize: 'int8' | 'none' | undefined,
): Promise<ThreadSettings['files']> {
  const folder = path.join(directory, ONNX_FOLDER);
  const names = await readdir(folder).catch((error: unknown) => {
    throw readError(error, folder);
  });
  const has = (file: string, suffix: string): boolean => names.includes(`${file}${suffix}.onnx`);
  const suffix =
    quantize === 'int8' || (quantize === undefined && !has(ENCODER_FILE, '')) ? '_quantized' : '';
  const fileOf = (file: string): string => {
    if (has(file, suffix)) return path.join(folder, `${file}${suffix}.onnx`);
    const missing = `${file}${suffix}.onnx`;
    throw new WgqaError('NOT_FOUND', `${folder} holds no ${missing}`, { field: missing });
  };
  // Two files are faster than one with a branch, whose graphs are optimised less.
  const separate = has(DECODER_FILE, suffix) && has(DECODER_WITH_PAST_FILE, suffix);
  return {
    encoder: fileOf(ENCODER_FILE),
    decoder: fileOf(separate ? DECODER_FILE : MERGED_DECODER_FILE),
    decoderWithPast: fileOf(separate ? DECODER_WITH_PAST_FILE : MERGED_DECODER_FILE),
  };
}
