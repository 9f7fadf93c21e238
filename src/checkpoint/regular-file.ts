/**
 * Opening files that we did not write. A FIFO, a device or a socket in the place of a file would block
 * a thread for ever or never end, so only regular files are opened, and reading is bounded by count:
 * the size that a file claims may be wrong (files of /proc claim 0).
 */
import { constants, type Stats } from 'node:fs';
import { open, stat, type FileHandle } from 'node:fs/promises';
import { WgqaError } from '../errors.ts';
import { readError } from './io-errors.ts';

/** Without it, opening a FIFO that replaced the file after it was looked at would block. */
export const READ_WITHOUT_BLOCKING =
  constants.O_RDONLY | ((constants as { O_NONBLOCK?: number }).O_NONBLOCK ?? 0);

/** The operating system reads no more than 2 GiB at once. */
const MAX_READ_BYTES = 1 << 30;

/**
 * Opens `file` for reading, passes it to `use`, and closes it.
 * @throws WgqaError NOT_FOUND, IO, INVALID_FILE unless it is a regular file; what `use` throws
 */
export async function withRegularFile<T>(
  file: string,
  use: (handle: FileHandle, bytes: number) => Promise<T>,
): Promise<T> {
  try {
    // Looked at first: opening some devices has effects.
    checkRegular(await stat(file), file);
    const handle = await open(file, READ_WITHOUT_BLOCKING);
    try {
      const opened = await handle.stat();
      checkRegular(opened, file);
      return await use(handle, opened.size);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw readError(error, file);
  }
}

/**
 * The whole content of a regular file.
 * @throws WgqaError NOT_FOUND, IO, INVALID_FILE for another kind of file or more than `maxBytes`
 */
export async function readRegularFile(file: string, maxBytes: number): Promise<Uint8Array> {
  return withRegularFile(file, async (handle, size) => {
    if (size > maxBytes) throw tooLong(file, `${String(size)} bytes`, maxBytes);
    const chunks: Buffer[] = [];
    let total = 0;
    for (;;) {
      const { bytesRead, buffer } = await handle.read({ buffer: Buffer.alloc(1 << 16) });
      if (bytesRead === 0) return Buffer.concat(chunks);
      chunks.push(buffer.subarray(0, bytesRead));
      total += bytesRead;
      if (total > maxBytes) throw tooLong(file, 'more bytes than it claims', maxBytes);
    }
  });
}

/** Fills a buffer from `position` on. @throws WgqaError INVALID_FILE where the file ends before */
export async function readExactly(
  handle: FileHandle,
  position: number,
  length: number,
  file: string,
): Promise<Buffer> {
  const buffer = Buffer.alloc(length);
  for (let done = 0; done < length;) {
    const wanted = Math.min(length - done, MAX_READ_BYTES);
    const { bytesRead } = await handle.read(buffer, done, wanted, position + done);
    if (bytesRead === 0) {
      const message = `${file} became shorter while it was read`;
      throw new WgqaError('INVALID_FILE', message, { field: file });
    }
    done += bytesRead;
  }
  return buffer;
}

/**
 * Checks what a file is without opening it; one that is not there is fine.
 * @throws WgqaError INVALID_FILE for another kind of file
 */
export async function checkRegularIfThere(file: string): Promise<void> {
  const found = await stat(file).catch(() => undefined);
  if (found !== undefined) checkRegular(found, file);
}

function checkRegular(stats: Stats, file: string): void {
  if (stats.isFile()) return;
  const kind = kindOf(stats);
  throw new WgqaError('INVALID_FILE', `${file} is ${kind}, not a regular file`, {
    field: file,
    allowed: 'a regular file',
  });
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return 'a directory';
  if (stats.isFIFO()) return 'a FIFO';
  if (stats.isSocket()) return 'a socket';
  return 'a device';
}

function tooLong(file: string, has: string, maxBytes: number): WgqaError {
  return new WgqaError('INVALID_FILE', `${file} has ${has}, more than ${String(maxBytes)}`, {
    field: file,
    allowed: `at most ${String(maxBytes)} bytes`,
  });
}
