/**
 * Writing a directory as a whole: readers see all of its old files or all of the new ones, also where
 * the process is killed. Everything is written under a temporary name and flushed to the disk first.
 *
 * A directory that is not there, or holds nothing but files, is made anew beside its place: one rename
 * or one exchange of the two puts it there, and other files in it are linked into the new one. Where
 * that is not possible (other folders in it, a mount point, a parent that cannot be written, the
 * working directory, no exchange in the file system), files are replaced one by one with a journal.
 */
import {
  chmod,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  realpath,
  rename,
  rm,
  rmdir,
  stat,
} from 'node:fs/promises';
import path from 'node:path';
import { WgqaError } from '../errors.ts';
import { throwIfAborted } from '../abort.ts';
import { exchangePaths } from './exchange.ts';
import { systemCode, writeError } from './io-errors.ts';
import {
  COMMIT_FOLDER,
  finishReplacement,
  newFilesOf,
  replaceFiles,
} from './replacement-journal.ts';
import { newStagingName, removeLeftovers, STAGING_PREFIX } from './save-owner.ts';

export interface OutputFile {
  readonly name: string;
  /** The content, produced when it is this file's turn; perhaps more than once. */
  readonly chunks: () => AsyncIterable<Uint8Array> | Iterable<Uint8Array>;
}

export interface WriteOptions {
  /** Files of earlier contents to be removed. */
  readonly isObsolete?: (name: string) => boolean;
  /** Looked at until all files are written. */
  readonly signal?: AbortSignal | undefined;
}

interface Work {
  readonly files: readonly OutputFile[];
  readonly isObsolete: (name: string) => boolean;
  readonly signal: AbortSignal | undefined;
}

/** A directory with more files is no checkpoint; linking them all would take long. */
const MOST_LINKED = 1000;

/** A file of known content. */
export function textFile(name: string, text: string): OutputFile {
  return { name, chunks: () => [Buffer.from(text)] };
}

/**
 * Writes `files`, and removes files of earlier contents for which `isObsolete` holds, all in one. What
 * fails leaves the directory as it was. Missing parents are made. Of several writers at once the last
 * one's files are there, all of them.
 * @throws WgqaError NO_SPACE, IO, ABORTED
 */
export async function writeDirectory(
  directory: string,
  files: readonly OutputFile[],
  { isObsolete = () => false, signal }: WriteOptions = {},
): Promise<void> {
  const work: Work = { files, isObsolete, signal };
  try {
    const target = await realPathOf(directory);
    const isDone = (await isWholeReplaceable(target, work)) && (await writeBeside(target, work));
    if (!isDone) await writeInside(target, work);
    await removeLeftovers(path.dirname(target));
  } catch (error) {
    throw writeError(error, directory);
  }
}

/**
 * Makes the directory and its missing parents.
 * @returns what removes those that were made and are still empty
 * @throws WgqaError NO_SPACE, IO
 */
export async function makeDirectory(directory: string): Promise<() => Promise<void>> {
  const made: string[] = [];
  try {
    const first = await mkdir(directory, { recursive: true });
    const end = first === undefined ? undefined : path.dirname(path.resolve(first));
    for (let at = path.resolve(directory); end !== undefined && at !== end; at = path.dirname(at)) {
      made.push(at);
    }
  } catch (error) {
    throw writeError(error, directory);
  }
  return async () => {
    for (const empty of made) await rmdir(empty).catch(() => undefined);
  };
}

/** Where links lead; a directory that does not exist yet is below its parent's real path. */
async function realPathOf(directory: string): Promise<string> {
  try {
    return await realpath(directory);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
    return path.resolve(directory);
  }
}

async function isWholeReplaceable(target: string, { files, isObsolete }: Work): Promise<boolean> {
  const entries = await readdir(target, { withFileTypes: true }).catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') return undefined;
    throw error;
  });
  if (entries === undefined) return true;
  for (const { name } of files) await checkReplaceable(path.join(target, name));
  // Whoever stands in the directory would stand in one that is removed.
  const below = path.relative(target, process.cwd());
  const isWorkingDirectory = !below.startsWith('..') && !path.isAbsolute(below);
  const changes = new Set([
    ...files.map(({ name }) => name),
    ...entries.map(({ name }) => name).filter(isObsolete),
  ]);
  const [parent, own] = await Promise.all([stat(path.dirname(target)), stat(target)]);
  return (
    // A single rename does it.
    (changes.size > 1 || entries.length === 0) &&
    entries.length <= MOST_LINKED &&
    entries.every((entry) => entry.isFile()) &&
    !isWorkingDirectory &&
    parent.dev === own.dev
  );
}

/** A folder in the place of a file is somebody's. */
async function checkReplaceable(file: string): Promise<void> {
  const isFolder = await lstat(file).then(
    (stats) => stats.isDirectory(),
    () => false,
  );
  if (!isFolder) return;
  throw new WgqaError('IO', `${file} cannot be written: it is a directory`, { field: file });
}

/** Makes the directory anew beside its place; false if it cannot be put there, and nothing changed. */
async function writeBeside(target: string, work: Work): Promise<boolean> {
  const parent = path.dirname(target);
  const removeParents = await makeDirectory(parent);
  try {
    const staging = path.join(parent, newStagingName());
    if (!(await canMake(staging, target))) return false;
    try {
      await writeFiles(staging, work);
      if (!(await putInPlace(staging, target, work))) return false;
    } finally {
      await rm(staging, { recursive: true, force: true });
    }
  } catch (error) {
    await removeParents();
    throw error;
  }
  await flushDirectory(parent);
  return true;
}

/** Makes `staging`; false if only `target` can be written, and not what is around it. */
async function canMake(staging: string, target: string): Promise<boolean> {
  try {
    await mkdir(staging);
    return true;
  } catch (error) {
    const isRefused = ['EACCES', 'EPERM', 'EROFS'].includes(systemCode(error) ?? '');
    if (isRefused && (await stat(target).catch(() => undefined))?.isDirectory()) return false;
    throw error;
  }
}

async function putInPlace(staging: string, target: string, work: Work): Promise<boolean> {
  const existing = await stat(target).catch(() => undefined);
  if (existing !== undefined) await chmod(staging, existing.mode & 0o7777);
  try {
    // On its own, this replaces nothing but an empty directory.
    await rename(staging, target);
    return true;
  } catch (error) {
    if (existing === undefined && !isOccupied(error)) throw error;
  }
  const linked = await linkOthers(target, staging, work);
  if (linked === undefined || !(await exchangePaths(staging, target))) return false;
  await moveLate(staging, target, linked);
  return true;
}

function isOccupied(error: unknown): boolean {
  return ['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '');
}

/** Gives the new directory the files that the save does not touch; undefined if it cannot. */
async function linkOthers(
  from: string,
  to: string,
  { files, isObsolete }: Work,
): Promise<ReadonlySet<string> | undefined> {
  const known = new Set(files.map(({ name }) => name));
  try {
    for (const name of await readdir(from)) {
      if (known.has(name)) continue;
      known.add(name);
      if (!isObsolete(name)) await link(path.join(from, name), path.join(to, name));
    }
    return known;
  } catch {
    return undefined;
  }
}

/** Files that somebody made in the old directory after its other files were linked. */
async function moveLate(from: string, to: string, known: ReadonlySet<string>): Promise<void> {
  for (const name of await readdir(from)) {
    if (!known.has(name)) await rename(path.join(from, name), path.join(to, name));
  }
}

/** Replaces files one by one. */
async function writeInside(target: string, work: Work): Promise<void> {
  const removeDirectories = await makeDirectory(target);
  const staging = path.join(target, newStagingName());
  try {
    await removeLeftovers(target);
    await mkdir(newFilesOf(staging), { recursive: true });
    await writeFiles(newFilesOf(staging), work);
    const names = work.files.map(({ name }) => name);
    const obsolete = (await readdir(target)).filter(
      (name) => !names.includes(name) && !isOurs(name) && work.isObsolete(name),
    );
    const [first] = names;
    if (names.length === 1 && obsolete.length === 0 && first !== undefined) {
      await finishReplacement(target);
      await rename(path.join(newFilesOf(staging), first), path.join(target, first));
    } else {
      await replaceFiles(target, staging, { names, obsolete });
    }
  } catch (error) {
    await rm(staging, { recursive: true, force: true });
    await removeDirectories();
    throw error;
  }
  await rm(staging, { recursive: true, force: true });
  await flushDirectory(target);
}

function isOurs(name: string): boolean {
  return name === COMMIT_FOLDER || name.startsWith(STAGING_PREFIX);
}

async function writeFiles(directory: string, { files, signal }: Work): Promise<void> {
  for (const { name, chunks } of files) {
    const handle = await open(path.join(directory, name), 'wx');
    try {
      for await (const chunk of chunks()) {
        throwIfAborted(signal);
        await handle.writeFile(chunk);
      }
      await handle.sync();
    } finally {
      await handle.close();
    }
  }
  throwIfAborted(signal);
  await flushDirectory(directory);
}

/** Makes names durable. Not every file system can, and none loses the old content. */
async function flushDirectory(directory: string): Promise<void> {
  try {
    const handle = await open(directory, 'r');
    await handle.sync().finally(() => handle.close());
  } catch {
    return;
  }
}
