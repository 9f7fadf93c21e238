/**
 * The pages of a column chunk, of version 1 or 2, in the encodings that writers use for text.
 * Source: https://parquet.apache.org/docs/file-format/data-pages/ and parquet.thrift, whose field
 * numbers are the integers below
 */
import { crc32 } from 'node:zlib';
import type { LetOthersRun } from '../turns.ts';
import { decompress } from './codecs.ts';
import type { RandomAccessFile } from './file.ts';
import type { ColumnChunk } from './footer.ts';
import { readHybrid } from './hybrid.ts';
import { EndOfBytes, malformed, unsupported } from './problem.ts';
import { readStruct, type ThriftStruct } from './thrift.ts';

/** The UTF-8 of each value in order, undefined where it is null; at most as many as there are. */
export type PageValues = Iterator<Uint8Array | undefined, void>;

/** Most bytes of a page, compressed or not. Writers aim at 1 MiB. */
export const MAX_PAGE_BYTES = 2 ** 27;

// With statistics a header holds two values; all but a few take less than the first of these.
const HEADER_BYTES = [2 ** 12, 2 ** 16, 2 ** 20, 2 ** 24];
const MAX_HEADER_VALUES = 1000;
// Of a dictionary, read between two looks at the clock.
const ENTRIES_PER_TURN = 2 ** 12;

const DATA_PAGE = 0;
const INDEX_PAGE = 1;
const DICTIONARY_PAGE = 2;
const DATA_PAGE_V2 = 3;

const PLAIN = 0;
const PLAIN_DICTIONARY = 2;
const RLE = 3;
const RLE_DICTIONARY = 8;
const ENCODINGS: readonly (string | undefined)[] = [
  'PLAIN',
  undefined,
  'PLAIN_DICTIONARY',
  'RLE',
  'BIT_PACKED',
  'DELTA_BINARY_PACKED',
  'DELTA_LENGTH_BYTE_ARRAY',
  'DELTA_BYTE_ARRAY',
  'RLE_DICTIONARY',
  'BYTE_STREAM_SPLIT',
];

interface Page {
  readonly header: ThriftStruct;
  readonly type: number;
  readonly body: Uint8Array;
  /** Of the body, decompressed. */
  readonly size: number;
}

/** The texts of a dictionary; their places, not arrays of them, for there may be millions. */
interface Dictionary {
  readonly bytes: Uint8Array;
  /** Where each one's length of four bytes begins, and where the last text ends. */
  readonly places: Uint32Array;
}

/**
 * Yields the data pages of a chunk; each must be consumed before the next. Holds the chunk's
 * dictionary and one page in memory, compressed and not: at most 512 MiB, commonly a few.
 *
 * @throws ParquetProblem for what is malformed, has a page of over 128 MiB or a false checksum, or
 *   is in an encoding or compression that is not supported
 */
export async function* readPages(
  file: RandomAccessFile,
  chunk: ColumnChunk,
  letOthersRun: LetOthersRun,
): AsyncGenerator<PageValues> {
  let dictionary: Dictionary | undefined;
  let position = chunk.start;
  let valuesLeft = chunk.valueCount;
  const unpack = (body: Uint8Array, size: number) =>
    decompress(chunk.codec, body, size, letOthersRun);
  while (valuesLeft > 0) {
    const { page, end } = await readPage(file, position, chunk.end);
    position = end;
    if (page.type === INDEX_PAGE) continue;
    if (page.type === DICTIONARY_PAGE) {
      if (dictionary) throw malformed('a column has two dictionaries');
      const bytes = await unpack(page.body, page.size);
      dictionary = await readDictionary(page.header, bytes, letOthersRun);
      continue;
    }
    const parts = await (page.type === DATA_PAGE ? splitPage : splitPageV2)(page, chunk, unpack);
    if (parts.count > valuesLeft) throw malformed('a column has more values than rows');
    valuesLeft -= parts.count;
    yield readValues(parts, chunk.column.maxDefinitionLevel, dictionary);
  }
}

async function readPage(
  file: RandomAccessFile,
  start: number,
  end: number,
): Promise<{ page: Page; end: number }> {
  const { struct: header, length } = await readPageHeader(file, start, end);
  const type = header.integer(1, 'page type');
  if (type > DATA_PAGE_V2) throw malformed(`there is no page type ${String(type)}`);
  const size = header.integer(2, 'page size');
  const compressedSize = header.integer(3, 'page size');
  if (Math.max(size, compressedSize) > MAX_PAGE_BYTES) {
    throw malformed(`a page has over ${String(MAX_PAGE_BYTES)} bytes`);
  }
  const bodyEnd = start + length + compressedSize;
  if (bodyEnd > end) throw malformed('a page is longer than its column');
  const body = await file.read(start + length, compressedSize);
  const checksum = header.optionalInteger(4, 'checksum', -(2 ** 31));
  if (checksum !== undefined && (checksum | 0) !== (crc32(body) | 0)) {
    throw malformed('the checksum of a page is another');
  }
  return { page: { header, type, body, size }, end: bodyEnd };
}

async function readPageHeader(
  file: RandomAccessFile,
  start: number,
  end: number,
): Promise<ReturnType<typeof readStruct>> {
  for (const most of HEADER_BYTES) {
    const bytes = await file.read(start, Math.min(most, end - start));
    try {
      return readStruct(bytes, MAX_HEADER_VALUES);
    } catch (error) {
      if (!(error instanceof EndOfBytes)) throw error;
      if (bytes.length === end - start) throw malformed('a column ends early', error);
    }
  }
  throw malformed(`a page's header has over ${String(HEADER_BYTES.at(-1))} bytes`);
}

/** A data page of either version. */
interface PageParts {
  readonly count: number;
  readonly encoding: number;
  /** In the hybrid encoding; empty where no value can be null. */
  readonly levels: Uint8Array;
  readonly values: Uint8Array;
}

type Unpack = (body: Uint8Array, size: number) => Promise<Uint8Array>;

async function splitPage(page: Page, chunk: ColumnChunk, unpack: Unpack): Promise<PageParts> {
  const header = page.header.struct(5, 'data page header');
  const count = header.integer(1, 'number of values');
  const encoding = header.integer(2, 'encoding');
  const bytes = await unpack(page.body, page.size);
  if (chunk.column.maxDefinitionLevel === 0) {
    return { count, encoding, levels: new Uint8Array(), values: bytes };
  }
  const levelEncoding = header.integer(3, 'encoding of levels');
  if (levelEncoding !== RLE) throw unsupportedEncoding(levelEncoding);
  const length = readLength(bytes, 0);
  return {
    count,
    encoding,
    levels: bytes.subarray(4, 4 + length),
    values: bytes.subarray(4 + length),
  };
}

async function splitPageV2(page: Page, _chunk: ColumnChunk, unpack: Unpack): Promise<PageParts> {
  const header = page.header.struct(8, 'data page header');
  const levelsLength = header.integer(5, 'length of levels');
  // No column that is read repeats; what a writer may put here all the same is passed over.
  const levelsStart = header.integer(6, 'length of levels');
  const valuesStart = levelsStart + levelsLength;
  if (valuesStart > Math.min(page.body.length, page.size)) throw new EndOfBytes();
  const packed = page.body.subarray(valuesStart);
  const size = page.size - valuesStart;
  // Nothing is not even compressed.
  const isCompressed = header.isNotFalse(7) && size > 0;
  return {
    count: header.integer(1, 'number of values'),
    encoding: header.integer(4, 'encoding'),
    levels: page.body.subarray(levelsStart, valuesStart),
    values: isCompressed ? await unpack(packed, size) : packed,
  };
}

function* readValues(
  { count, encoding, levels, values }: PageParts,
  maxDefinitionLevel: number,
  dictionary: Dictionary | undefined,
): Generator<Uint8Array | undefined, void> {
  const present = openValues(encoding, values, count, dictionary);
  const width = 32 - Math.clz32(maxDefinitionLevel);
  // Where no value can be null, levels of no bits are all 0, which is the highest.
  for (const level of maxDefinitionLevel === 0 ? zeros(count) : readHybrid(levels, width, count)) {
    if (level > maxDefinitionLevel) throw malformed('a value has a level that its column has not');
    if (level < maxDefinitionLevel) {
      yield undefined;
      continue;
    }
    const next = present.next();
    if (next.done === true) throw new EndOfBytes();
    yield next.value;
  }
}

function* zeros(count: number): Generator<number> {
  for (let index = 0; index < count; index += 1) yield 0;
}

/** The values that are not null: `count` or fewer. */
function openValues(
  encoding: number,
  values: Uint8Array,
  count: number,
  dictionary: Dictionary | undefined,
): Iterator<Uint8Array, void> {
  if (encoding === PLAIN) return plainValues(values);
  if (encoding !== RLE_DICTIONARY && encoding !== PLAIN_DICTIONARY) {
    throw unsupportedEncoding(encoding);
  }
  if (dictionary === undefined) throw malformed('a column lacks its dictionary');
  return dictionaryValues(values, count, dictionary);
}

/** Source: https://parquet.apache.org/docs/file-format/data-pages/encodings/#PLAIN */
function* plainValues(bytes: Uint8Array): Generator<Uint8Array, void> {
  for (let start = 0; start < bytes.length;) {
    const end = start + 4 + readLength(bytes, start);
    yield bytes.subarray(start + 4, end);
    start = end;
  }
}

function* dictionaryValues(
  bytes: Uint8Array,
  count: number,
  dictionary: Dictionary,
): Generator<Uint8Array, void> {
  // A page of nulls alone may lack the width, too.
  const width = bytes[0];
  if (width === undefined) throw new EndOfBytes();
  if (width > 32) throw malformed('the indices of a page have over 32 bits');
  for (const index of readHybrid(bytes.subarray(1), width, count)) {
    const end = dictionary.places[index + 1];
    if (end === undefined) throw malformed('a value is not in its dictionary');
    yield dictionary.bytes.subarray(dictionary.places[index]! + 4, end);
  }
}

async function readDictionary(
  header: ThriftStruct,
  bytes: Uint8Array,
  letOthersRun: LetOthersRun,
): Promise<Dictionary> {
  const fields = header.struct(7, 'dictionary page header');
  const encoding = fields.integer(2, 'encoding');
  if (encoding !== PLAIN && encoding !== PLAIN_DICTIONARY) throw unsupportedEncoding(encoding);
  const count = fields.integer(1, 'number of values');
  // Every value has a length of four bytes, which bounds what a false count can ask for.
  if (count > bytes.length / 4) throw malformed('a dictionary is shorter than its header says');
  const places = new Uint32Array(count + 1);
  for (let index = 0; index < count; index += 1) {
    const place = places[index]!;
    places[index + 1] = place + 4 + readLength(bytes, place);
    if (index % ENTRIES_PER_TURN === 0) await letOthersRun();
  }
  return { bytes, places };
}

/** The length of four bytes at `offset`, which as many bytes follow. */
function readLength(bytes: Uint8Array, offset: number): number {
  if (offset + 4 > bytes.length) throw new EndOfBytes();
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const length = view.getUint32(offset, true);
  if (length > bytes.length - offset - 4) throw new EndOfBytes();
  return length;
}

function unsupportedEncoding(encoding: number): Error {
  const name = ENCODINGS[encoding];
  if (name === undefined) return malformed(`there is no encoding ${String(encoding)}`);
  return unsupported(`a column is encoded as ${name}; PLAIN and dictionaries can be read`);
}
