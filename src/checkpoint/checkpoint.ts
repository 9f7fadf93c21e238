/** A Hugging Face checkpoint directory of a T5, in and out. */
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { WgqaError } from '../errors.ts';
import { textFile, writeDirectory, type OutputFile } from './atomic-directory.ts';
import { bindTensors, type BoundTensors } from './bind-tensors.ts';
import { carriedFiles, checkCarriedFiles, GENERATION_CONFIG_FILE } from './carried-files.ts';
import { FLOAT_KEYS, parseConfig, rejectInFile, type ModelConfig } from './config.ts';
import { DenseTensors } from './dense-tensors.ts';
import { readError } from './io-errors.ts';
import type { NumberSpellings } from './json-parser.ts';
import { readOptionalJsonFile, readSpelledJsonFile, type JsonObject } from './json.ts';
import type { TensorEntry } from './safetensors.ts';
import { unreadWeights } from './known-formats.ts';
import {
  INDEX_FILE,
  isWeightFileName,
  readTensorEntries,
  readTensorsOfFile,
  SINGLE_FILE,
} from './tensor-files.ts';
import { formatJson } from './write-json.ts';
import { warn } from './warnings.ts';
import { shardedFiles, type OutputTensor } from './write-safetensors.ts';

export { carriedFiles, GENERATION_CONFIG_FILE };

export const CONFIG_FILE = 'config.json';
/** The largest configurations on the hub have some 100 kB. */
const MAX_CONFIG_BYTES = 1 << 20;
/** Hugging Face's default size of a shard. */
export const DEFAULT_SHARD_BYTES = 5e9;

/** A configuration, and how its file spells numbers. */
export interface SpelledConfig {
  readonly config: ModelConfig;
  readonly spellings: NumberSpellings;
}

/** Every parameter of the configuration, in its order; dispose of it when the tensors were mapped. */
export interface Checkpoint extends SpelledConfig, BoundTensors, AsyncDisposable {}

/** Where a checkpoint lies: its directory, and the file of weights if it was named. */
export interface CheckpointPlace {
  readonly directory: string;
  readonly weights?: string;
}

/**
 * The checkpoint that `given` names: a directory, or its file of weights.
 * @throws WgqaError NOT_FOUND, INVALID_ARGUMENT, UNSUPPORTED, IO
 */
export async function locateCheckpoint(given: string): Promise<CheckpointPlace> {
  const isDirectory = await stat(given).then(
    (stats) => stats.isDirectory(),
    (error: unknown) => {
      throw readError(error, given);
    },
  );
  if (isDirectory) return { directory: given };
  const { dir, base } = path.parse(path.resolve(given));
  const unread = isWeightFileName(base) ? undefined : unreadWeights([base]);
  if (unread !== undefined) throw new WgqaError('UNSUPPORTED', unread, { field: 'directory' });
  if (isWeightFileName(base)) return { directory: dir, weights: path.join(dir, base) };
  throw new WgqaError('INVALID_ARGUMENT', `${given} is a file: give its directory, ${dir}`, {
    field: 'directory',
    allowed: 'a directory, or a file of weights',
  });
}

/**
 * Reads and checks configuration and tensor headers.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, IO, ABORTED
 */
export async function readCheckpoint(
  { directory, weights }: CheckpointPlace,
  signal?: AbortSignal,
): Promise<Checkpoint> {
  const { config, spellings } = await readSpelledConfig(directory);
  await checkCarriedFiles(directory);
  await warnOfAdapter(directory);
  const entries =
    weights === undefined ? await readTensorEntries(directory) : await readTensorsOfFile(weights);
  const dense = new DenseTensors();
  const dispose = async (): Promise<void> => dense[Symbol.asyncDispose]();
  try {
    const densify = (tensor: TensorEntry): Promise<TensorEntry> => dense.of(tensor);
    const bound = await bindTensors(config, entries, { densify, signal });
    return { ...bound, spellings, [Symbol.asyncDispose]: dispose };
  } catch (error) {
    await dispose();
    throw error;
  }
}

/**
 * Reads and checks a `config.json`.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, IO
 */
export async function readConfig(file: string): Promise<ModelConfig> {
  return parseConfig(
    (await readSpelledJsonFile(file, MAX_CONFIG_BYTES)).object,
    rejectInFile(file),
  );
}

async function readSpelledConfig(directory: string): Promise<SpelledConfig> {
  const file = path.join(directory, CONFIG_FILE);
  try {
    const { object, spellings } = await readSpelledJsonFile(file, MAX_CONFIG_BYTES);
    return { config: parseConfig(object, rejectInFile(file)), spellings };
  } catch (error) {
    const isMissing = error instanceof WgqaError && error.code === 'NOT_FOUND';
    const found = isMissing ? unreadWeights(await readdir(directory).catch(() => [])) : undefined;
    if (found === undefined) throw error;
    const message = `${directory} holds no ${CONFIG_FILE}; its ${found}`;
    throw new WgqaError('NOT_FOUND', message, { field: file, cause: error });
  }
}

/** PEFT would load the adapter onto the model; here the model alone is loaded. */
async function warnOfAdapter(directory: string): Promise<void> {
  const adapter = (await readdir(directory)).find((name) => name === 'adapter_config.json');
  if (adapter === undefined) return;
  const message = `${adapter} of ${directory} is ignored: the model is loaded without its adapter`;
  warn('WGQA_ADAPTER_IGNORED', message);
}

/** `generation_config.json`; if there is none, the configuration may hold the same keys. */
export async function readGenerationConfig(directory: string): Promise<JsonObject | undefined> {
  return readOptionalJsonFile(path.join(directory, GENERATION_CONFIG_FILE), MAX_CONFIG_BYTES);
}

export interface OutputCheckpoint {
  readonly config: Readonly<Record<string, unknown>>;
  /** How numbers of the configuration are spelled. */
  readonly spellings?: NumberSpellings;
  readonly tensors: readonly OutputTensor[];
  /** Directory whose tokenizer and generation configuration are copied. */
  readonly carryFrom: string | undefined;
  readonly maxShardBytes: number;
  /** Further entries of the safetensors metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Files of other subjects, written with the checkpoint. */
  readonly extraFiles?: readonly OutputFile[];
  readonly signal?: AbortSignal | undefined;
}

/**
 * Writes a checkpoint directory: all of it or nothing.
 * @throws WgqaError NO_SPACE, IO, ABORTED
 */
export async function writeCheckpoint(
  directory: string,
  checkpoint: OutputCheckpoint,
): Promise<void> {
  const { tensors, maxShardBytes, spellings = new Map() } = checkpoint;
  const metadata = { format: 'pt', ...checkpoint.metadata };
  const files = [
    ...shardedFiles(tensors, maxShardBytes, metadata),
    ...(await carriedFiles(checkpoint.carryFrom)),
    ...(checkpoint.extraFiles ?? []),
    textFile(CONFIG_FILE, configText(checkpoint.config, spellings)),
  ];
  await writeDirectory(directory, files, {
    isObsolete: isWeightFile,
    signal: checkpoint.signal,
  });
}

/** The text of a `config.json` that Transformers reads. */
export function configText(
  config: Readonly<Record<string, unknown>>,
  spellings: NumberSpellings,
): string {
  return formatJson(config, { spellings, floatKeys: FLOAT_KEYS });
}

/** Weights of an earlier checkpoint in the same directory would be read instead of, or with, ours. */
function isWeightFile(name: string): boolean {
  return (
    name === SINGLE_FILE || name === INDEX_FILE || /^model-\d+-of-\d+\.safetensors$/.test(name)
  );
}

/** @throws WgqaError NOT_FOUND, or IO, unless `directory` is a directory */
export async function checkDirectory(directory: string): Promise<void> {
  try {
    if ((await stat(directory)).isDirectory()) return;
  } catch (error) {
    throw readError(error, directory);
  }
  throw readError(Object.assign(new Error('not a directory'), { code: 'ENOTDIR' }), directory);
}
