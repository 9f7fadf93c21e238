/** Reading a directory that another process may save into meanwhile. */
import { stat } from 'node:fs/promises';
import path from 'node:path';
import { WgqaError } from '../errors.ts';
import { finishReplacement } from './replacement-journal.ts';

const MOST_ATTEMPTS = 5;

/**
 * Calls `read`, and again if a save replaced files of `directory` in the meantime: what `read` has
 * opened by name may then be of both saves, and goes to `discard`, if it did not fail because of that.
 * @throws WgqaError IO if the directory changes again and again; what `read` throws
 */
export async function whileUnchanged<T>(
  directory: string,
  read: () => Promise<T>,
  discard: (result: T) => Promise<void>,
): Promise<T> {
  for (let attempt = 1; attempt <= MOST_ATTEMPTS; ++attempt) {
    await finishReplacement(directory);
    const before = await identityOf(directory);
    let result: T;
    try {
      result = await read();
    } catch (error) {
      if ((await identityOf(directory)) === before) throw error;
      continue;
    }
    if ((await identityOf(directory)) === before) return result;
    await discard(result);
  }
  const message = `${directory} was saved into again and again while it was read`;
  throw new WgqaError('IO', message, { field: directory });
}

/** Every save makes a new config.json, and often a new directory. */
async function identityOf(directory: string): Promise<string> {
  const files = [directory, path.join(directory, 'config.json')];
  const stats = await Promise.all(
    files.map((file) => stat(file, { bigint: true }).catch(() => undefined)),
  );
  return stats.map((found) => `${String(found?.dev)}:${String(found?.ino)}`).join(' ');
}
