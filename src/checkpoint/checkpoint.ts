/** A Hugging Face checkpoint directory of a T5, in and out. */
import { createReadStream } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import path from 'node:path';
import { textFile, writeDirectory, type OutputFile } from './atomic-directory.ts';
import { parseConfig, rejectInFile, type ModelConfig } from './config.ts';
import { readError } from './io-errors.ts';
import { readJsonFile, readOptionalJsonFile, type JsonObject } from './json.ts';
import type { TensorEntry } from './safetensors.ts';
import { bindTensors } from './t5-tensors.ts';
import { INDEX_FILE, readTensorEntries, SINGLE_FILE } from './tensor-files.ts';
import { shardedFiles, type OutputTensor } from './write-safetensors.ts';

export const CONFIG_FILE = 'config.json';
export const GENERATION_CONFIG_FILE = 'generation_config.json';
/** What a new checkpoint takes over from the one its model came from. */
const CARRIED_FILES = [
  GENERATION_CONFIG_FILE,
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'spiece.model',
  'tokenizer.model',
];
const MAX_CONFIG_BYTES = 1 << 24;
/** Hugging Face's default size of a shard. */
export const DEFAULT_SHARD_BYTES = 5e9;

export interface Checkpoint {
  readonly config: ModelConfig;
  /** Every parameter of the configuration, in its order. */
  readonly tensors: readonly TensorEntry[];
}

/**
 * Reads and checks configuration and tensor headers.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, IO
 */
export async function readCheckpoint(directory: string): Promise<Checkpoint> {
  const config = await readConfig(path.join(directory, CONFIG_FILE));
  return { config, tensors: bindTensors(config, await readTensorEntries(directory)) };
}

/**
 * Reads and checks a `config.json`.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, IO
 */
export async function readConfig(file: string): Promise<ModelConfig> {
  return parseConfig(await readJsonFile(file, MAX_CONFIG_BYTES), rejectInFile(file));
}

/** `generation_config.json`; if there is none, the configuration may hold the same keys. */
export async function readGenerationConfig(directory: string): Promise<JsonObject | undefined> {
  return readOptionalJsonFile(path.join(directory, GENERATION_CONFIG_FILE), MAX_CONFIG_BYTES);
}

export interface OutputCheckpoint {
  readonly config: Readonly<Record<string, unknown>>;
  readonly tensors: readonly OutputTensor[];
  /** Directory whose tokenizer and generation configuration are copied. */
  readonly carryFrom: string | undefined;
  readonly maxShardBytes: number;
  /** Further entries of the safetensors metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Files of other subjects, written with the checkpoint. */
  readonly extraFiles?: readonly OutputFile[];
}

/**
 * Writes a checkpoint directory: all of it or nothing.
 * @throws WgqaError NO_SPACE, IO
 */
export async function writeCheckpoint(
  directory: string,
  checkpoint: OutputCheckpoint,
): Promise<void> {
  const metadata = { format: 'pt', ...checkpoint.metadata };
  const files = [
    ...shardedFiles(checkpoint.tensors, checkpoint.maxShardBytes, metadata),
    ...(await carriedFiles(checkpoint.carryFrom)),
    ...(checkpoint.extraFiles ?? []),
    textFile(CONFIG_FILE, `${JSON.stringify(checkpoint.config, null, 2)}\n`),
  ];
  await writeDirectory(directory, files, isWeightFile);
}

/** Weights of an earlier checkpoint in the same directory would be read instead of, or with, ours. */
function isWeightFile(name: string): boolean {
  return (
    name === SINGLE_FILE || name === INDEX_FILE || /^model-\d+-of-\d+\.safetensors$/.test(name)
  );
}

/** Tokenizer files and generation configuration of `directory`, to be copied. */
export async function carriedFiles(directory: string | undefined): Promise<OutputFile[]> {
  if (directory === undefined) return [];
  const present = new Set(await readdir(directory).catch(() => []));
  return CARRIED_FILES.filter((name) => present.has(name)).map((name) => ({
    name,
    chunks: () => createReadStream(path.join(directory, name)),
  }));
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
