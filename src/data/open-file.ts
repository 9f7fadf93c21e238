import { close, constants, createReadStream, fstat, open, type Stats } from 'node:fs';
import { open as openHandle, type FileHandle } from 'node:fs/promises';
import { Socket } from 'node:net';
import type { Readable } from 'node:stream';
import { promisify } from 'node:util';
import { WgqaError } from '../errors.ts';

// Opening a FIFO without it would take a thread of the process until somebody writes. Windows has
// neither the flag nor FIFOs among its files.
const { O_RDONLY, O_NONBLOCK = 0 } = constants as { O_RDONLY: number; O_NONBLOCK?: number };
const FLAGS = O_RDONLY | O_NONBLOCK;

/**
 * Opens a file to be read at any place.
 *
 * @throws WgqaError `INVALID_FILE` for a directory, FIFO or device; what the system reports
 */
export async function openRegularFile(path: string): Promise<FileHandle> {
  const handle = await openHandle(path, FLAGS);
  try {
    if ((await handle.stat()).isFile()) return handle;
    throw notReadable(path);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Opens a file, FIFO (as a shell's `<(…)`) or device to be read from its start to its end. A FIFO
 * that nobody writes to is empty.
 *
 * @throws WgqaError `INVALID_FILE` for a directory or socket; what the system reports
 */
export async function openToRead(path: string): Promise<Readable> {
  const fd = await promisify(open)(path, FLAGS);
  try {
    const stats = await (promisify(fstat) as (fd: number) => Promise<Stats>)(fd);
    if (stats.isFIFO()) return new Socket({ fd, readable: true, writable: false });
    if (stats.isFile() || stats.isCharacterDevice()) return createReadStream(path, { fd });
    throw notReadable(path);
  } catch (error) {
    await promisify(close)(fd);
    throw error;
  }
}

function notReadable(path: string): WgqaError {
  const message = `${path} is no file that can be read`;
  return new WgqaError('INVALID_FILE', message, { field: path, allowed: 'a regular file' });
}
