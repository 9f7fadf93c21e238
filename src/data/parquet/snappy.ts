import type { LetOthersRun } from '../turns.ts';
import { EndOfBytes, malformed } from './problem.ts';

// About a millisecond of work.
const PIECE_BYTES = 2 ** 18;

/**
 * Decompresses Snappy's raw format.
 * Source: https://github.com/google/snappy/blob/main/format_description.txt
 *
 * @param size bytes that it must hold, which the caller has found to be few enough
 * @throws ParquetProblem when it is malformed or holds fewer or more
 */
export async function decompressSnappy(
  input: Uint8Array,
  size: number,
  letOthersRun: LetOthersRun,
): Promise<Uint8Array> {
  const output = new Uint8Array(size);
  const length = readLength(input);
  if (length.value !== size) throw malformed('a snappy page has another size than its header says');
  let at = { input: length.end, output: 0 };
  while (at.input < input.length) {
    at = decompressPiece(input, output, at, Math.min(at.output + PIECE_BYTES, size));
    await letOthersRun();
  }
  if (at.output !== size) throw malformed('a snappy page ends early');
  return output;
}

/** Offsets. */
interface Position {
  readonly input: number;
  readonly output: number;
}

function readLength(input: Uint8Array): { value: number; end: number } {
  let value = 0;
  for (let index = 0; index < 5; index += 1) {
    const byte = byteAt(input, index);
    value += (byte & 0x7f) * 2 ** (7 * index);
    if (byte < 0x80) return { value, end: index + 1 };
  }
  throw malformed('the length of a snappy page has over 32 bits');
}

/** Runs elements until `goal` bytes are there or the input ends. Each one reads a byte at least. */
function decompressPiece(
  input: Uint8Array,
  output: Uint8Array,
  start: Position,
  goal: number,
): Position {
  let from = start.input;
  let to = start.output;
  do {
    const tag = byteAt(input, from);
    const kind = tag & 3;
    from += 1;
    if (kind === 0) {
      const extra = Math.max((tag >>> 2) - 59, 0);
      const length = (extra === 0 ? tag >>> 2 : littleEndian(input, from, extra)) + 1;
      from += extra;
      if (length > input.length - from) throw new EndOfBytes();
      if (length > output.length - to) throw malformed('a snappy page is longer than its size');
      output.set(input.subarray(from, from + length), to);
      from += length;
      to += length;
    } else {
      const bytes = kind === 3 ? 4 : kind;
      const distance = littleEndian(input, from, bytes) + (kind === 1 ? (tag >>> 5) * 256 : 0);
      const length = kind === 1 ? ((tag >>> 2) & 7) + 4 : (tag >>> 2) + 1;
      from += bytes;
      if (distance === 0 || distance > to) throw malformed('a snappy page copies from nowhere');
      if (length > output.length - to) throw malformed('a snappy page is longer than its size');
      // Byte by byte, for the copy may overlap what it copies from: that repeats it.
      for (let index = 0; index < length; index += 1) {
        output[to + index] = output[to + index - distance] as number;
      }
      to += length;
    }
  } while (from < input.length && to < goal);
  return { input: from, output: to };
}

function littleEndian(input: Uint8Array, offset: number, bytes: number): number {
  let value = 0;
  for (let index = 0; index < bytes; index += 1) {
    value += byteAt(input, offset + index) * 2 ** (8 * index);
  }
  return value;
}

function byteAt(input: Uint8Array, offset: number): number {
  const byte = input[offset];
  if (byte === undefined) throw new EndOfBytes();
  return byte;
}
