/**
 * Writing a directory as a whole: every file under a temporary name first, flushed to the disk,
 * then renamed one after another. Until all are complete, nothing that a reader looks at changes.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, open, readdir, rename, rm, rmdir } from 'node:fs/promises';
import path from 'node:path';
import { systemCode, writeError } from './io-errors.ts';

export interface OutputFile {
  readonly name: string;
  /** The content, produced when it is this file's turn. */
  readonly chunks: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

/** A file of known content. */
export function textFile(name: string, text: string): OutputFile {
  return { name, chunks: () => [Buffer.from(text)] };
}

/**
 * Writes `files` in their order, the last one being what makes the directory valid to a reader, and
 * removes files of earlier contents for which `isObsolete` holds. On failure the directory is left
 * as it was, without temporary files. Its parent must exist.
 * @throws WgqaError NO_SPACE, IO
 */
export async function writeDirectory(
  directory: string,
  files: readonly OutputFile[],
  isObsolete: (name: string) => boolean = () => false,
): Promise<void> {
  const created = await makeDirectory(directory);
  const suffix = `.${process.pid}-${randomBytes(6).toString('hex')}.tmp`;
  const temporary = (name: string): string => path.join(directory, `.${name}${suffix}`);
  try {
    for (const file of files) await writeFile(temporary(file.name), file);
    for (const { name } of files) await rename(temporary(name), path.join(directory, name));
  } catch (error) {
    // What went wrong is the error to report, whatever cleaning up meets.
    await Promise.allSettled(files.map(({ name }) => rm(temporary(name), { force: true })));
    // Only an empty directory is removed: a rename may have failed half-way.
    if (created) await rmdir(directory).catch(() => undefined);
    throw writeError(error, directory);
  }
  await removeObsolete(directory, new Set(files.map((file) => file.name)), isObsolete);
  await flushDirectory(directory);
}

/** Makes the directory; false if it was there. @throws WgqaError NO_SPACE, IO */
export async function makeDirectory(directory: string): Promise<boolean> {
  try {
    await mkdir(directory);
    return true;
  } catch (error) {
    if (systemCode(error) === 'EEXIST') return false;
    throw writeError(error, directory);
  }
}

async function writeFile(file: string, { chunks }: OutputFile): Promise<void> {
  const handle = await open(file, 'wx');
  try {
    for await (const chunk of chunks()) await handle.writeFile(chunk);
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function removeObsolete(
  directory: string,
  written: ReadonlySet<string>,
  isObsolete: (name: string) => boolean,
): Promise<void> {
  const obsolete = (await readdir(directory)).filter((n) => !written.has(n) && isObsolete(n));
  await Promise.all(obsolete.map((name) => rm(path.join(directory, name), { force: true })));
}

/** Makes the renames durable. Not every file system can, and none loses the old content. */
async function flushDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    return;
  }
}
