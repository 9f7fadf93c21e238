/** All tensors of a checkpoint directory: one safetensors file, or shards listed by an index. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';
import { readError } from './io-errors.ts';
import { readJsonFile } from './json.ts';
import { MAX_HEADER_BYTES, readSafetensorsHeader, type TensorEntry } from './safetensors.ts';

export const SINGLE_FILE = 'model.safetensors';
export const INDEX_FILE = 'model.safetensors.index.json';
const MAX_SHARDS = 10_000;

/**
 * Reads the headers of `model.safetensors`, or of every shard of its index.
 * @throws WgqaError NOT_FOUND if there is neither, INVALID_FILE, IO
 */
export async function readTensorEntries(
  directory: string,
): Promise<ReadonlyMap<string, TensorEntry>> {
  if (await exists(path.join(directory, SINGLE_FILE))) {
    return (await readSafetensorsHeader(path.join(directory, SINGLE_FILE))).tensors;
  }
  const index = path.join(directory, INDEX_FILE);
  if (!(await exists(index))) {
    throw new WgqaError(
      'NOT_FOUND',
      `${directory} holds neither ${SINGLE_FILE} nor ${INDEX_FILE}`,
      {
        field: SINGLE_FILE,
      },
    );
  }
  return readShards(directory, parseWeightMap(await readJsonFile(index, MAX_HEADER_BYTES)));
}

async function readShards(
  directory: string,
  shardOf: ReadonlyMap<string, string>,
): Promise<ReadonlyMap<string, TensorEntry>> {
  const tensors = new Map<string, TensorEntry>();
  for (const shard of new Set(shardOf.values())) {
    const header = await readSafetensorsHeader(path.join(directory, shard));
    for (const [name, entry] of header.tensors) {
      if (tensors.has(name)) throw inconsistent(name, `tensor ${name} lies in two shards`);
      if (shardOf.get(name) !== shard) {
        throw inconsistent(name, `tensor ${name} of ${shard} is not listed there by ${INDEX_FILE}`);
      }
      tensors.set(name, entry);
    }
  }
  for (const [name, shard] of shardOf) {
    if (!tensors.has(name)) throw inconsistent(name, `tensor ${name} is missing from ${shard}`);
  }
  return tensors;
}

function parseWeightMap(index: Record<string, unknown>): ReadonlyMap<string, string> {
  const { weight_map: map } = index;
  if (!isRecord(map)) throw inconsistent('weight_map', `${INDEX_FILE} has no weight_map`);
  const shardOf = new Map<string, string>();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || !isPlainFileName(shard)) {
      throw new WgqaError(
        'INVALID_FILE',
        `${INDEX_FILE} puts ${name} into ${JSON.stringify(shard)}, which is no plain file name`,
        { field: name, allowed: 'the name of a .safetensors file in the same directory' },
      );
    }
    shardOf.set(name, shard);
  }
  if (new Set(shardOf.values()).size > MAX_SHARDS) {
    throw inconsistent('weight_map', `${INDEX_FILE} lists more than ${MAX_SHARDS} shards`);
  }
  return shardOf;
}

/** Neither a path nor hidden: an index must not reach outside of its directory. */
function isPlainFileName(name: string): boolean {
  return /^[\w-][\w.-]*\.safetensors$/.test(name);
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
