/**
 * Reading safetensors headers (https://github.com/huggingface/safetensors, "Format"): an 8-byte
 * little-endian header length, a JSON header, and the tensors' bytes without gaps. Only the header
 * is read here; the data is memory-mapped by native code, which relies on the checks made here.
 * Alignment is not one of them: files of early writers, many public T5 among them, do not align.
 */
import type { FileHandle } from 'node:fs/promises';
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';
import { parseJsonObject } from './json.ts';
import { shortJson } from './json-parser.ts';
import { foreignContent } from './known-formats.ts';
import { readExactly, withRegularFile } from './regular-file.ts';

/** Bytes of one element of every dtype of the format that is a whole number of bytes. */
const ELEMENT_BYTES: ReadonlyMap<string, number> = new Map(
  Object.entries({
    BOOL: 1,
    U8: 1,
    I8: 1,
    F8_E4M3: 1,
    F8_E5M2: 1,
    F8_E8M0: 1,
    U16: 2,
    I16: 2,
    F16: 2,
    BF16: 2,
    U32: 4,
    I32: 4,
    F32: 4,
    U64: 8,
    I64: 8,
    F64: 8,
    C64: 8,
  }),
);

/**
 * Enough for 60,000 tensors, which no T5 has; parsing more would hold up the event loop. The format's
 * reference implementation allows 100 MB.
 */
export const MAX_HEADER_BYTES = 8 << 20;
const MAX_DIMENSIONS = 8;
const LENGTH_BYTES = 8;

/** A tensor in a file: `bytes` at `offset`, little-endian, row-major. */
export interface TensorEntry {
  readonly name: string;
  /** As the file names it: 'F32', 'BF16', ... */
  readonly dtype: string;
  readonly shape: readonly number[];
  readonly file: string;
  /** From the start of the file. */
  readonly offset: number;
  readonly bytes: number;
  /** Elements from one index of a dimension to the next; absent where elements follow one another. */
  readonly strides?: readonly number[];
}

export interface SafetensorsHeader {
  readonly tensors: ReadonlyMap<string, TensorEntry>;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Reads and checks the header of a safetensors file.
 * @throws WgqaError NOT_FOUND, IO, or INVALID_FILE with the offending tensor or part as `field`
 */
export async function readSafetensorsHeader(file: string): Promise<SafetensorsHeader> {
  return withRegularFile(file, (handle, size) => readHeader(handle, size, file));
}

async function readHeader(
  handle: FileHandle,
  size: number,
  file: string,
): Promise<SafetensorsHeader> {
  const foreign = foreignContent(await readExactly(handle, 0, Math.min(size, 128), file));
  if (foreign !== undefined) throw malformed('header', `${file} ${foreign}`);
  if (size < LENGTH_BYTES) throw malformed('header', `${file} is too short for a header`);
  const length = (await readExactly(handle, 0, LENGTH_BYTES, file)).readBigUInt64LE();
  if (length > BigInt(MAX_HEADER_BYTES)) {
    throw malformed('header', `${file} claims a header of ${String(length)} bytes`, {
      allowed: `at most ${MAX_HEADER_BYTES} bytes`,
    });
  }
  const headerBytes = Number(length);
  if (LENGTH_BYTES + headerBytes > size) {
    throw malformed('header', `${file} ends inside its header (${size} bytes)`);
  }
  const text = await readExactly(handle, LENGTH_BYTES, headerBytes, file);
  if (text[0] !== 0x7b) throw malformed('header', `the header of ${file} does not start with "{"`);
  const dataStart = LENGTH_BYTES + headerBytes;
  const { __metadata__: metadata, ...entries } = parseJsonObject(text, `header of ${file}`).object;
  const tensors = new Map(
    Object.entries(entries).map(([name, entry]) => [
      name,
      parseEntry(name, entry, file, dataStart),
    ]),
  );
  checkLayout([...tensors.values()], dataStart, size, file);
  return { tensors, metadata: parseMetadata(metadata, file) };
}

function parseEntry(name: string, entry: unknown, file: string, dataStart: number): TensorEntry {
  if (!isRecord(entry)) throw malformed(name, `entry ${shortJson(name)} is not an object`);
  const { dtype, shape, data_offsets: offsets, ...rest } = entry;
  const unknown = Object.keys(rest).at(0);
  if (unknown !== undefined) throw malformed(name, `tensor ${name} has an unknown key ${unknown}`);
  const elementBytes = ELEMENT_BYTES.get(String(dtype));
  if (typeof dtype !== 'string' || elementBytes === undefined) {
    throw malformed(name, `tensor ${name} has the unknown dtype ${shortJson(dtype)}`, {
      allowed: [...ELEMENT_BYTES.keys()].join(', '),
    });
  }
  if (!isSizes(shape) || shape.length > MAX_DIMENSIONS) {
    throw malformed(name, `tensor ${name} has a malformed shape`, {
      allowed: `at most ${MAX_DIMENSIONS} non-negative integers`,
    });
  }
  const [start, end] = parseOffsets(offsets, name);
  const needed = shape.reduce((product, size) => product * size, elementBytes);
  if (!Number.isSafeInteger(needed) || needed !== end - start) {
    const given = `tensor ${name} of shape [${shape.join(', ')}] ${dtype} has ${end - start} bytes`;
    throw malformed(name, given, {
      allowed: Number.isSafeInteger(needed) ? `${needed} bytes` : 'a shape that fits in memory',
    });
  }
  return { name, dtype, shape, file, offset: dataStart + start, bytes: needed };
}

function parseOffsets(offsets: unknown, name: string): [number, number] {
  const [start = -1, end = -1] = isSizes(offsets) && offsets.length === 2 ? offsets : [];
  if (start >= 0 && end >= start) return [start, end];
  throw malformed(name, `tensor ${name} has malformed data_offsets`, {
    allowed: 'two ascending non-negative integers',
  });
}

function isSizes(value: unknown): value is number[] {
  return Array.isArray(value) && value.every((v) => Number.isSafeInteger(v) && (v as number) >= 0);
}

/** Tensors must follow one another without gap or overlap and fill the file. */
function checkLayout(
  tensors: readonly TensorEntry[],
  dataStart: number,
  fileBytes: number,
  file: string,
): void {
  let end = dataStart;
  for (const tensor of tensors.toSorted((a, b) => a.offset - b.offset || a.bytes - b.bytes)) {
    if (tensor.offset < end) throw malformed(tensor.name, `tensor ${tensor.name} overlaps another`);
    if (tensor.offset > end) {
      throw malformed(tensor.name, `there is a hole in ${file} before tensor ${tensor.name}`);
    }
    end += tensor.bytes;
    if (end > fileBytes) {
      throw malformed(tensor.name, `${file} ends inside tensor ${tensor.name}`);
    }
  }
  if (end !== fileBytes) {
    throw malformed(file, `${file} has ${fileBytes} bytes, but its tensors end at ${end}`);
  }
}

function parseMetadata(metadata: unknown, file: string): Record<string, string> {
  if (metadata === undefined) return {};
  if (!isRecord(metadata) || Object.values(metadata).some((value) => typeof value !== 'string')) {
    throw malformed('__metadata__', `__metadata__ of ${file} must map strings to strings`);
  }
  return metadata as Record<string, string>;
}

function malformed(field: string, message: string, details: { allowed?: string } = {}): WgqaError {
  return new WgqaError('INVALID_FILE', message, { field, ...details });
}
