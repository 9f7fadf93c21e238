/** Finding the graphs of an exported directory and starting an engine over them. */
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { checkDirectory, CONFIG_FILE, readConfig } from '../checkpoint/checkpoint.ts';
import { readError } from '../checkpoint/io-errors.ts';
import { tokenizerRule } from '../decode/options.ts';
import { RequestReader } from '../decode/request-reader.ts';
import { WgqaError } from '../errors.ts';
import {
  CONFIG_FILES,
  HUB_RULES,
  hubOptions,
  lacks,
  present,
  resolveFiles,
  TOKENIZER_FILES,
  type FileChoice,
} from '../hub/index.ts';
import { abortError, throwIfAborted } from '../model/index.ts';
import {
  arrayOf,
  checkOptions,
  checkValue,
  either,
  integerIn,
  objectRule,
  oneOf,
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
  ...HUB_RULES,
  executionProviders: arrayOf(either(stringRule, objectRule), 1),
  threads: integerIn(1, 1024),
  quantize: oneOf('int8', 'none'),
  tokenizer: tokenizerRule,
} satisfies Rules;

const NO_LIMITS = {
  requests: Infinity,
  sequences: MAX_SEQUENCES,
  inputTokens: Infinity,
  newTokens: Infinity,
  timeout: Infinity,
};

/**
 * Loads what `exportOnnx` has written, or a model of the hub (`org/name[@revision]`) with such graphs, in ONNX Runtime and a thread of its own.
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
  const hub = hubOptions({ ...given, ...(signal && { signal }) });
  directory = await resolveFiles(directory, hub, chooseGraphs(given.quantize));
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

type Quantization = 'int8' | 'none' | undefined;
type GraphFiles = ThreadSettings['files'];

async function findGraphs(directory: string, quantize: Quantization): Promise<GraphFiles> {
  const folder = path.join(directory, ONNX_FOLDER);
  const names = await readdir(folder).catch((error: unknown) => {
    throw readError(error, folder);
  });
  const { encoder, decoder, decoderWithPast } = graphNames(names, quantize, folder);
  const inFolder = (name: string): string => path.join(folder, name);
  return {
    encoder: inFolder(encoder),
    decoder: inFolder(decoder),
    decoderWithPast: inFolder(decoderWithPast),
  };
}

/** What of a repository on the hub is downloaded: no graphs but those that run. */
function chooseGraphs(quantize: Quantization): FileChoice {
  return (paths) => {
    if (!paths.has(CONFIG_FILE)) throw lacks(CONFIG_FILE, paths);
    const prefix = `${ONNX_FOLDER}/`;
    const inFolder = [...paths].filter((name) => name.startsWith(prefix));
    const names = inFolder.map((name) => name.slice(prefix.length));
    const graphs = new Set(Object.values(graphNames(names, quantize, 'the repository')));
    const files = [...graphs].flatMap((name) => [name, `${name}_data`]);
    return [
      ...present([...CONFIG_FILES, ...TOKENIZER_FILES], paths),
      ...present(
        files.map((name) => prefix + name),
        paths,
      ),
    ];
  };
}

/** @throws WgqaError NOT_FOUND where `place`, whose files are `names`, lacks one */
function graphNames(names: readonly string[], quantize: Quantization, place: string): GraphFiles {
  const has = (file: string, suffix: string): boolean => names.includes(`${file}${suffix}.onnx`);
  const suffix =
    quantize === 'int8' || (quantize === undefined && !has(ENCODER_FILE, '')) ? '_quantized' : '';
  const nameOf = (file: string): string => {
    const name = `${file}${suffix}.onnx`;
    if (names.includes(name)) return name;
    throw new WgqaError('NOT_FOUND', `${place} holds no ${name}`, { field: name });
  };
  // Two files are faster than one with a branch, whose graphs are optimised less.
  const separate = has(DECODER_FILE, suffix) && has(DECODER_WITH_PAST_FILE, suffix);
  return {
    encoder: nameOf(ENCODER_FILE),
    decoder: nameOf(separate ? DECODER_FILE : MERGED_DECODER_FILE),
    decoderWithPast: nameOf(separate ? DECODER_WITH_PAST_FILE : MERGED_DECODER_FILE),
  };
}
