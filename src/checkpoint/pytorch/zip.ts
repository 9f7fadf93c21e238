/**
 * Where the entries of a zip file lie (APPNOTE.TXT 6.3, sections 4.3 and 4.5), with the 64-bit fields
 * that large files have. Entries that are compressed or encrypted are listed, but cannot be located.
 */
import type { FileHandle } from 'node:fs/promises';
import { WgqaError } from '../../errors.ts';
import { readExactly } from '../regular-file.ts';

const END_BYTES = 22;
const MAX_COMMENT = 0xffff;
const LOCATOR_BYTES = 20;
const END64_BYTES = 56;
const HEADER_BYTES = 46;
const LOCAL_BYTES = 30;
/** Enough for 60,000 entries. */
const MAX_DIRECTORY_BYTES = 8 << 20;
const [END, END64, LOCATOR, HEADER, LOCAL] = [
  0x06054b50, 0x06064b50, 0x07064b50, 0x02014b50, 0x04034b50,
];

export interface ZipEntry {
  readonly name: string;
  readonly bytes: number;
  readonly isStored: boolean;
  readonly localHeader: number;
}

interface Directory {
  readonly offset: number;
  readonly bytes: number;
}

export class ZipFile {
  readonly entries: ReadonlyMap<string, ZipEntry>;
  readonly #handle: FileHandle;
  readonly #file: string;
  readonly #dataEnd: number;

  private constructor(
    handle: FileHandle,
    file: string,
    directory: Directory,
    entries: ReadonlyMap<string, ZipEntry>,
  ) {
    this.#handle = handle;
    this.#file = file;
    this.#dataEnd = directory.offset;
    this.entries = entries;
  }

  /** @throws WgqaError INVALID_FILE, IO */
  static async read(handle: FileHandle, size: number, file: string): Promise<ZipFile> {
    const directory = await findDirectory(handle, size, file);
    if (directory.bytes > MAX_DIRECTORY_BYTES || directory.offset + directory.bytes > size) {
      throw malformed(file, `claims a zip directory of ${directory.bytes} bytes`);
    }
    const bytes = await readExactly(handle, directory.offset, directory.bytes, file);
    return new ZipFile(handle, file, directory, parseDirectory(bytes, file));
  }

  /** Where the bytes of an entry start. @throws WgqaError INVALID_FILE, UNSUPPORTED */
  async locate(entry: ZipEntry): Promise<number> {
    if (!entry.isStored) {
      const message = `${entry.name} of ${this.#file} is compressed: save it again with torch.save`;
      throw new WgqaError('UNSUPPORTED', message, { field: entry.name });
    }
    if (entry.localHeader + LOCAL_BYTES > this.#dataEnd) throw this.#outside(entry);
    const local = await readExactly(this.#handle, entry.localHeader, LOCAL_BYTES, this.#file);
    if (local.readUInt32LE() !== LOCAL) throw this.#outside(entry);
    const start = entry.localHeader + LOCAL_BYTES + local.readUInt16LE(26) + local.readUInt16LE(28);
    if (start + entry.bytes > this.#dataEnd) throw this.#outside(entry);
    return start;
  }

  #outside({ name }: ZipEntry): WgqaError {
    return malformed(this.#file, `has no entry ${JSON.stringify(name)} where its directory says`);
  }
}

async function findDirectory(handle: FileHandle, size: number, file: string): Promise<Directory> {
  const tailBytes = Math.min(size, END_BYTES + MAX_COMMENT + LOCATOR_BYTES);
  const tail = await readExactly(handle, size - tailBytes, tailBytes, file);
  const end = tail.lastIndexOf(Buffer.from([0x50, 0x4b, 0x05, 0x06]));
  if (end < 0 || end + END_BYTES > tail.length || tail.readUInt32LE(end) !== END) {
    throw malformed(file, 'is a zip file without its end: it was cut off');
  }
  const directory = { bytes: tail.readUInt32LE(end + 12), offset: tail.readUInt32LE(end + 16) };
  const locator = end - LOCATOR_BYTES;
  if (locator < 0 || tail.readUInt32LE(locator) !== LOCATOR) return directory;
  const at = safeNumber(tail.readBigUInt64LE(locator + 8), file);
  if (at + END64_BYTES > size) throw malformed(file, 'is a zip file whose end lies outside of it');
  const end64 = await readExactly(handle, at, END64_BYTES, file);
  if (end64.readUInt32LE() !== END64) throw malformed(file, 'is a zip file with a malformed end');
  return {
    bytes: safeNumber(end64.readBigUInt64LE(40), file),
    offset: safeNumber(end64.readBigUInt64LE(48), file),
  };
}

function parseDirectory(bytes: Buffer, file: string): ReadonlyMap<string, ZipEntry> {
  const entries = new Map<string, ZipEntry>();
  for (let at = 0; at < bytes.length;) {
    if (at + HEADER_BYTES > bytes.length || bytes.readUInt32LE(at) !== HEADER) {
      throw malformed(file, 'has a malformed zip directory');
    }
    const nameEnd = at + HEADER_BYTES + bytes.readUInt16LE(at + 28);
    const extraEnd = nameEnd + bytes.readUInt16LE(at + 30);
    const next = extraEnd + bytes.readUInt16LE(at + 32);
    if (next > bytes.length) throw malformed(file, 'has a malformed zip directory');
    const name = bytes.toString('utf8', at + HEADER_BYTES, nameEnd);
    if (entries.has(name)) throw malformed(file, `has the entry ${JSON.stringify(name)} twice`);
    const isEncrypted = (bytes.readUInt16LE(at + 8) & 1) === 1;
    entries.set(name, {
      name,
      isStored: bytes.readUInt16LE(at + 10) === 0 && !isEncrypted,
      ...placeOf(bytes.subarray(at, extraEnd), nameEnd - at, file),
    });
    at = next;
  }
  return entries;
}

/** Size and place of an entry; fields that are all ones stand in the 64-bit extra field, in order. */
function placeOf(header: Buffer, extra: number, file: string) {
  const wide = wideFields(header.subarray(extra));
  const resolve = (value: number): number => {
    if (value !== 0xffffffff) return value;
    const field = wide.shift();
    if (field === undefined) throw malformed(file, 'has a malformed zip directory');
    return safeNumber(field, file);
  };
  const bytes = resolve(header.readUInt32LE(24));
  resolve(header.readUInt32LE(20));
  return { bytes, localHeader: resolve(header.readUInt32LE(42)) };
}

function wideFields(extra: Buffer): bigint[] {
  for (let at = 0; at + 4 <= extra.length;) {
    const length = extra.readUInt16LE(at + 2);
    const content = extra.subarray(at + 4, at + 4 + length);
    if (extra.readUInt16LE(at) === 1) {
      return Array.from({ length: Math.min(3, content.length >> 3) }, (_, i) =>
        content.readBigUInt64LE(8 * i),
      );
    }
    at += 4 + length;
  }
  return [];
}

function safeNumber(value: bigint, file: string): number {
  const number = Number(value);
  if (!Number.isSafeInteger(number)) throw malformed(file, 'claims a size beyond any file');
  return number;
}

function malformed(file: string, problem: string): WgqaError {
  return new WgqaError('INVALID_FILE', `${file} ${problem}`, { field: file });
}
