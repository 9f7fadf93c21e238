/** Writing safetensors files tensor by tensor, so that no more than one is in memory. */
import { randomBytes } from 'node:crypto';
import { WgqaError } from '../errors.ts';
import type { OutputFile } from './atomic-directory.ts';
import { textFile } from './atomic-directory.ts';
import { FLOAT_DTYPES, type FloatDtype } from './t5-tensors.ts';
import { INDEX_FILE, SAVE_ID, SINGLE_FILE } from './tensor-files.ts';

export interface OutputTensor {
  readonly name: string;
  readonly dtype: FloatDtype;
  readonly shape: readonly number[];
  /** Little-endian bytes, row-major. */
  readonly read: () => Promise<Uint8Array>;
}

type Metadata = Readonly<Record<string, string>>;

// Data starts, and so every tensor, at a multiple of this: readers may map it in place.
const ALIGNMENT = 8;
const DTYPE_NAMES = new Map(Object.entries(FLOAT_DTYPES).map(([file, name]) => [name, file]));

export function tensorBytes({ dtype, shape }: Pick<OutputTensor, 'dtype' | 'shape'>): number {
  return shape.reduce((product, size) => product * size, dtype === 'float32' ? 4 : 2);
}

/** One safetensors file. */
export function safetensorsFile(
  name: string,
  tensors: readonly OutputTensor[],
  metadata: Metadata,
): OutputFile {
  return { name, chunks: () => safetensorsChunks(tensors, metadata) };
}

/**
 * `model.safetensors`, or shards of at most `maxShardBytes` (a single tensor may exceed it) with
 * the index that Hugging Face expects. The index stands last. Shards carry an id of the save, by which
 * a mixture of two is noticed.
 */
export function shardedFiles(
  tensors: readonly OutputTensor[],
  maxShardBytes: number,
  metadata: Metadata,
): OutputFile[] {
  const shards = cutIntoShards(tensors, maxShardBytes);
  if (shards.length <= 1) return [safetensorsFile(SINGLE_FILE, tensors, metadata)];
  const marked = { ...metadata, [SAVE_ID]: randomBytes(8).toString('hex') };
  const number = (n: number): string => String(n).padStart(5, '0');
  const nameOf = (i: number): string =>
    `model-${number(i + 1)}-of-${number(shards.length)}.safetensors`;
  const index = {
    metadata: { total_size: tensors.reduce((sum, tensor) => sum + tensorBytes(tensor), 0) },
    weight_map: Object.fromEntries(
      shards.flatMap((shard, i) => shard.map((tensor) => [tensor.name, nameOf(i)])),
    ),
  };
  return [
    ...shards.map((shard, i) => safetensorsFile(nameOf(i), shard, marked)),
    textFile(INDEX_FILE, `${JSON.stringify(index, null, 2)}\n`),
  ];
}

function cutIntoShards(tensors: readonly OutputTensor[], maxShardBytes: number): OutputTensor[][] {
  const shards: OutputTensor[][] = [];
  let room = 0;
  for (const tensor of tensors) {
    const bytes = tensorBytes(tensor);
    const shard = shards.at(-1);
    if (shard === undefined || bytes > room) {
      shards.push([tensor]);
      room = maxShardBytes;
    } else {
      shard.push(tensor);
    }
    room -= bytes;
  }
  return shards;
}

async function* safetensorsChunks(
  tensors: readonly OutputTensor[],
  metadata: Metadata,
): AsyncGenerator<Uint8Array> {
  // Wider elements first: then each tensor is aligned without gaps, which the format forbids.
  const wide = tensors.filter((tensor) => tensor.dtype === 'float32');
  const ordered = [...wide, ...tensors.filter((tensor) => tensor.dtype !== 'float32')];
  yield header(ordered, metadata);
  for (const tensor of ordered) {
    const bytes = await tensor.read();
    if (bytes.byteLength !== tensorBytes(tensor)) {
      throw new WgqaError('INTERNAL', `${tensor.name} gave ${bytes.byteLength} bytes to write`);
    }
    yield bytes;
  }
}

function header(tensors: readonly OutputTensor[], metadata: Metadata): Uint8Array {
  const entries: Record<string, unknown> = { __metadata__: metadata };
  let offset = 0;
  for (const tensor of tensors) {
    const end = offset + tensorBytes(tensor);
    entries[tensor.name] = {
      dtype: DTYPE_NAMES.get(tensor.dtype),
      shape: tensor.shape,
      data_offsets: [offset, end],
    };
    offset = end;
  }
  const json = Buffer.from(JSON.stringify(entries));
  const length = Math.ceil(json.length / ALIGNMENT) * ALIGNMENT;
  const bytes = Buffer.alloc(ALIGNMENT + length, ' ');
  bytes.writeBigUInt64LE(BigInt(length));
  json.copy(bytes, ALIGNMENT);
  return bytes;
}
