/** Output files and directories of commands. */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { WgqaError } from '../index.ts';

/**
 * Makes sure, before any work, that a model can be written to `directory`, and makes its parent.
 * @throws WgqaError INVALID_ARGUMENT if it is not empty and `force` is off
 */
export async function prepareDirectory(directory: string, force = false): Promise<void> {
  await mkdir(path.dirname(path.resolve(directory)), { recursive: true });
  const names = await readdir(directory).catch((error: unknown) => {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  });
  if (names.length === 0 || force) return;
  throw new WgqaError('INVALID_ARGUMENT', `${directory} is not empty`, {
    field: directory,
    allowed: 'a new or empty directory, or any with --force',
  });
}

/**
 * Writes text files as a whole: nobody sees a part of one, and all are complete before the first
 * appears under its name. Makes the directories.
 */
export async function writeFiles(files: Readonly<Record<string, string>>): Promise<void> {
  const suffix = `.${randomBytes(6).toString('hex')}.tmp`;
  const entries = Object.entries(files);
  try {
    for (const [file, text] of entries) {
      await mkdir(path.dirname(path.resolve(file)), { recursive: true });
      await writeFile(file + suffix, text, { flag: 'wx', flush: true });
    }
    for (const [file] of entries) await rename(file + suffix, file);
  } finally {
    await Promise.all(entries.map(([file]) => rm(file + suffix, { force: true })));
  }
}
