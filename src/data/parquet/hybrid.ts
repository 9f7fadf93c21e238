import { EndOfBytes, malformed } from './problem.ts';

/**
 * Yields up to `count` integers of `width` bits, 0 to 32, from runs that are either one value
 * repeated or values packed bit by bit. Takes no memory, whatever the runs claim.
 * Source: https://parquet.apache.org/docs/file-format/data-pages/encodings/#RLE
 *
 * @throws ParquetProblem when the bytes end first
 */
export function* readHybrid(bytes: Uint8Array, width: number, count: number): Generator<number> {
  let offset = 0;
  let left = count;
  while (left > 0) {
    const run = readRunHeader(bytes, offset);
    offset = run.offset;
    const length = Math.min(run.length, left);
    if (run.packed) {
      for (let index = 0; index < length; index += 1) {
        yield readBits(bytes, offset * 8 + index * width, width);
      }
      offset += (run.length / 8) * width;
    } else {
      const repeated = readBits(bytes, offset * 8, width);
      for (let index = 0; index < length; index += 1) yield repeated;
      offset += Math.ceil(width / 8);
    }
    left -= length;
  }
}

interface Run {
  readonly packed: boolean;
  /** Number of values; a multiple of 8 when packed. */
  readonly length: number;
  /** Where its values begin, in bytes. */
  readonly offset: number;
}

function readRunHeader(bytes: Uint8Array, start: number): Run {
  let header = 0;
  for (let index = 0; index < 5; index += 1) {
    const byte = bytes[start + index];
    if (byte === undefined) throw new EndOfBytes();
    header += (byte & 0x7f) * 2 ** (7 * index);
    if (byte >= 0x80) continue;
    const packed = header % 2 === 1;
    const length = Math.floor(header / 2) * (packed ? 8 : 1);
    if (length === 0) throw malformed('a run is empty');
    return { packed, length, offset: start + index + 1 };
  }
  throw malformed('the length of a run has over 32 bits');
}

/** The lowest bits come first. */
function readBits(bytes: Uint8Array, start: number, width: number): number {
  let value = 0;
  let known = 0;
  while (known < width) {
    const bit = start + known;
    const byte = bytes[Math.floor(bit / 8)];
    if (byte === undefined) throw new EndOfBytes();
    const taken = Math.min(8 - (bit % 8), width - known);
    value += ((byte >>> (bit % 8)) & ((1 << taken) - 1)) * 2 ** known;
    known += taken;
  }
  return value;
}
