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
 * @throws WgqaError `IO` for a directory, `INVALID_FILE` for a FIFO or device; what the system reports
 */
export async function openRegularFile(path: string): Promise<FileHandle> {
  const handle = await openHandle(path, FLAGS);
  try {
    const stats = await handle.stat();
    if (stats.isFile()) return handle;
    throw notReadable(path, stats);
  } catch (error) {
    await handle.close();
    throw error;
  }
}

/**
 * Opens a file, FIFO (as a shell's `<(…)`) or device to be read from its start to its end. Waiting
 * for the writer of a FIFO takes no thread, and does not keep the process from its end.
 *
 * @throws WgqaError `IO` for a directory, `INVALID_FILE` for a socket; what the system reports
 */
export async function openToRead(path: string): Promise<Readable> {
  const fd = await promisify(open)(path, FLAGS);
  try {
    const stats = await (promisify(fstat) as (fd: number) => Promise<Stats>)(fd);
    if (stats.isFIFO()) return new Socket({ fd, readable: true, writable: false });
    if (stats.isFile() || stats.isCharacterDevice()) return createReadStream(path, { fd });
    throw notReadable(path, stats);
  } catch (error) {
    await promisify(close)(fd);
    throw error;
  }
}

function notReadable(path: string, stats: Stats): WgqaError {
  if (stats.isDirectory()) return new WgqaError('IO', `${path} is a directory`, { field: path });
  const details = { field: path, allowed: 'a regular file' };
  return new WgqaError('INVALID_FILE', `${path} is no regular file`, details);
}
