import { promisify } from 'node:util';
import * as zlib from 'node:zlib';
import type { LetOthersRun } from '../turns.ts';
import { malformed, unsupported } from './problem.ts';
import { decompressSnappy } from './snappy.ts';

type ZlibFunction = (
  bytes: Uint8Array,
  options: { maxOutputLength: number; chunkSize: number },
  done: (error: Error | null, result: Buffer) => void,
) => void;

/** By the numbers of the format's enumeration CompressionCodec. */
const NAMES = [
  'uncompressed',
  'snappy',
  'gzip',
  'LZO',
  'Brotli',
  'LZ4',
  'zstd',
  'LZ4 (raw)',
] as const;
type Codec = (typeof NAMES)[number];
const ZLIB: Partial<Record<Codec, ZlibFunction>> = {
  gzip: zlib.unzip,
  Brotli: zlib.brotliDecompress,
};
// Node's own since 22.15, and not in the types of the oldest Node that is supported.
const { zstdDecompress } = zlib as { zstdDecompress?: ZlibFunction };
if (zstdDecompress) ZLIB.zstd = zstdDecompress;

/** Whether this Node reads pages that are compressed with zstd. */
export const ZSTD_IS_SUPPORTED = zstdDecompress !== undefined;

const MAX_ZLIB_PIECE = 2 ** 20;
const MIN_ZLIB_PIECE = 64;

/**
 * Decompresses a page; zlib's formats on a thread of their own.
 *
 * @param codec number in the format's enumeration CompressionCodec
 * @param size bytes that it must hold, which the caller has found to be few enough
 * @throws ParquetProblem when it is malformed, holds fewer or more bytes than `size`, or this Node
 *   lacks the codec
 */
export async function decompress(
  codec: number,
  bytes: Uint8Array,
  size: number,
  letOthersRun: LetOthersRun,
): Promise<Uint8Array> {
  const name = NAMES[codec];
  if (name === undefined) throw malformed(`there is no compression ${String(codec)}`);
  const unpacked =
    name === 'uncompressed'
      ? bytes
      : name === 'snappy'
        ? await decompressSnappy(bytes, size, letOthersRun)
        : await decompressZlib(name, bytes, size);
  if (unpacked.length === size) return unpacked;
  throw malformed('a page has another size than its header says');
}

async function decompressZlib(name: Codec, bytes: Uint8Array, size: number): Promise<Uint8Array> {
  const run = ZLIB[name];
  if (run === undefined) {
    const since = name === 'zstd' ? `: Node has it from 22.15, this is ${process.version}` : '';
    throw unsupported(`its pages are compressed with ${name}, which cannot be read${since}`);
  }
  const chunkSize = Math.min(Math.max(size, MIN_ZLIB_PIECE), MAX_ZLIB_PIECE);
  try {
    return await promisify(run)(bytes, { maxOutputLength: Math.max(size, 1), chunkSize });
  } catch (cause) {
    throw malformed(`a page is no whole ${name} stream of the size its header says`, cause);
  }
}
