/** All tensors of a checkpoint: one file of weights, or shards listed by an index. */
import { access, readdir } from 'node:fs/promises';
import path from 'node:path';
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';
import { readError } from './io-errors.ts';
import { shortJson } from './json-parser.ts';
import { readJsonFile } from './json.ts';
import { unreadWeights } from './known-formats.ts';
import { readPytorchFile } from './pytorch/file.ts';
import { readSafetensorsHeader, type TensorEntry } from './safetensors.ts';
import { isTiedName } from './t5-tensors.ts';

export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';
/** In the metadata of safetensors files: the save that wrote them, the same in all shards. */
export const SAVE_ID = 'wgqa_save';
const MAX_SHARDS = 10_000;
/** Enough for 60,000 tensors. */
const MAX_INDEX_BYTES = 8 << 20;

type TensorEntries = ReadonlyMap<string, TensorEntry>;

interface WeightFile {
  readonly tensors: TensorEntries;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A format of weights with the names that Hugging Face gives its files. */
interface Format {
  readonly single: string;
  readonly index: string;
  /** Neither paths nor hidden files: an index must not reach outside of its directory. */
  readonly shard: RegExp;
  readonly extension: string;
  readonly read: (file: string) => Promise<WeightFile>;
}

const FORMATS: readonly Format[] = [
  {
    single: SINGLE_FILE,
    index: INDEX_FILE,
    shard: /^[\w-][\w.-]*\.safetensors$/,
    extension: '.safetensors',
    read: readSafetensorsHeader,
  },
  {
    single: 'pytorch_model.bin',
    index: 'pytorch_model.bin.index.json',
    shard: /^[\w-][\w.-]*\.bin$/,
    extension: '.bin',
    read: async (file) => ({ tensors: await readPytorchFile(file), metadata: {} }),
  },
];

/** Whether a file of this name holds weights, or lists the shards that do. */
export function isWeightFileName(name: string): boolean {
  return formatOf(name) !== undefined;
}

/**
 * Reads where the tensors of a directory lie: in the first there is of `model.safetensors`, shards of
 * its index, `pytorch_model.bin`, and shards of its index.
 * @throws WgqaError NOT_FOUND if there is none, INVALID_FILE, UNSUPPORTED, IO
 */
export async function readTensorEntries(directory: string): Promise<TensorEntries> {
  for (const format of FORMATS) {
    const single = path.join(directory, format.single);
    if (await exists(single)) return (await format.read(single)).tensors;
    if (await exists(path.join(directory, format.index))) return readIndex(directory, format);
  }
  throw await noWeights(directory);
}

/**
 * Reads where the tensors of a file of weights lie; an index, or one of its shards, stands for all.
 * @throws WgqaError NOT_FOUND, INVALID_FILE, UNSUPPORTED, IO
 */
export async function readTensorsOfFile(file: string): Promise<TensorEntries> {
  const { dir: directory, base: name } = path.parse(file);
  const format = formatOf(name);
  if (format === undefined) return readTensorEntries(directory);
  const isShard = /-\d+-of-\d+\.\w+$/.test(name);
  const standsForAll = name === format.index || isShard;
  if (standsForAll && (await exists(path.join(directory, format.index)))) {
    return readIndex(directory, format);
  }
  return (await format.read(file)).tensors;
}

function formatOf(name: string): Format | undefined {
  return FORMATS.find(({ index, extension }) => name === index || name.endsWith(extension));
}

/** What a directory without weights holds instead. */
async function noWeights(directory: string): Promise<WgqaError> {
  const found = unreadWeights(await readdir(directory));
  const names = FORMATS.flatMap(({ single, index }) => [single, index]).join(', ');
  const message = `${directory} holds none of ${names}${found === undefined ? '' : `; its ${found}`}`;
  return new WgqaError('NOT_FOUND', message, { field: SINGLE_FILE, allowed: names });
}

async function readIndex(directory: string, format: Format): Promise<TensorEntries> {
  const index = await readJsonFile(path.join(directory, format.index), MAX_INDEX_BYTES);
  return readShards(directory, parseWeightMap(index, format), format);
}

async function readShards(
  directory: string,
  shardOf: ReadonlyMap<string, string>,
  { index, read }: Format,
): Promise<TensorEntries> {
  const tensors = new Map<string, TensorEntry>();
  const saves = new Map<string | undefined, string>();
  for (const shard of new Set(shardOf.values())) {
    const header = await read(path.join(directory, shard));
    saves.set(header.metadata[SAVE_ID], shard);
    for (const [name, entry] of header.tensors) {
      if (tensors.has(name)) throw inconsistent(name, `tensor ${name} lies in two shards`);
      if (shardOf.get(name) !== shard && !isTiedName(name)) {
        throw inconsistent(name, `tensor ${name} of ${shard} is not listed there by ${index}`);
      }
      tensors.set(name, entry);
    }
  }
  if (saves.size > 1) {
    const shards = [...saves.values()].slice(0, 2).join(' and ');
    throw inconsistent(index, `${shards} of ${directory} come from different saves`);
  }
  for (const [name, shard] of shardOf) {
    if (tensors.has(name) || isTiedName(name)) continue;
    throw inconsistent(name, `tensor ${name} is missing from ${shard}`);
  }
  return tensors;
}

function parseWeightMap(
  { weight_map: map }: Record<string, unknown>,
  { index, shard: shardName, extension }: Format,
): ReadonlyMap<string, string> {
  if (!isRecord(map)) throw inconsistent('weight_map', `${index} has no weight_map`);
  const shardOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !shardName.test(shard)) {
      throw new WgqaError(
        'INVALID_FILE',
        `${index} puts ${name} into ${shortJson(shard)}, which is no plain file name`,
        { field: name, allowed: `the name of a ${extension} file in the same directory` },
      );
    }
    shardOf.set(name, shard);
  }
  if (new Set(shardOf.values()).size > MAX_SHARDS) {
    throw inconsistent('weight_map', `${index} lists more than ${MAX_SHARDS} shards`);
  }
  return shardOf;
}

async function exists(file: string): Promise<boolean> {
  try {
    await access(file);
    return true;
  } catch (error) {
    const translated = readError(error, file);
    if (translated instanceof WgqaError && translated.code === 'NOT_FOUND') return false;
    throw translated;
  }
}

function inconsistent(field: string, message: string): WgqaError {
  return new WgqaError('INVALID_FILE', message, { field });
}
