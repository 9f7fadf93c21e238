import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { WgqaError } from '../errors.ts';

/**
 * Opens a file to be read. Whatever stands there, this does not wait: opening a FIFO would take a
 * thread until somebody writes to it.
 *
 * @throws WgqaError `INVALID_FILE` for a directory, FIFO or device; what the system reports
 */
export async function openRegularFile(path: string): Promise<FileHandle> {
  // O_NONBLOCK is absent on Windows, which has no FIFOs among its files.
  const { O_RDONLY, O_NONBLOCK = 0 } = constants as Partial<typeof constants>;
  const handle = await open(path, (O_RDONLY ?? 0) | O_NONBLOCK);
  try {
    if ((await handle.stat()).isFile()) return handle;
    const message = `${path} is no regular file`;
    throw new WgqaError('INVALID_FILE', message, { field: path, allowed: 'a regular file' });
  } catch (error) {
    await handle.close();
    throw error;
  }
}
