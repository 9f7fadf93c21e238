/**
 * Replacing files of a directory one by one, where it cannot be exchanged as a whole. All new files lie
 * complete in a folder inside; renaming the folder to `.wgqa-commit` decides that they will take their
 * places. Whoever finds that folder and no living owner finishes the replacement, so that a reader of
 * this package sees either all old files or all new ones.
 */
import { lstat, mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { WgqaError } from '../errors.ts';
import { readError, systemCode } from './io-errors.ts';
import { readRegularFile } from './regular-file.ts';
import { isLeftBehind, newStagingName } from './save-owner.ts';

export const COMMIT_FOLDER = '.wgqa-commit';
const NEW = 'new';
const OLD = 'old';
const JOURNAL = 'journal.json';
const MAX_JOURNAL_BYTES = 1 << 20;
const POLL_MILLISECONDS = 20;
/** A living owner needs milliseconds for its renames. */
const PATIENCE_MILLISECONDS = 5000;

interface Journal {
  readonly owner: string;
  /** Names to be put in place, in this order. */
  readonly names: readonly string[];
  /** Names to be removed before. */
  readonly obsolete: readonly string[];
}

/** The folder of new files in a staging directory inside of the directory to be changed. */
export function newFilesOf(staging: string): string {
  return path.join(staging, NEW);
}

/** Replaces files of `directory` by those of `staging`, a directory in it, or changes nothing. */
export async function replaceFiles(
  directory: string,
  staging: string,
  { names, obsolete }: Omit<Journal, 'owner'>,
): Promise<void> {
  const journal: Journal = { owner: path.basename(staging), names, obsolete };
  await mkdir(path.join(staging, OLD));
  await writeFile(path.join(staging, JOURNAL), JSON.stringify(journal));
  await commit(directory, staging);
  const moves = movesOf(directory, journal);
  let done = 0;
  try {
    for (const move of moves) {
      await renameIfThere(...move);
      done += 1;
    }
  } catch (error) {
    for (const [from, to] of moves.slice(0, done).reverse()) await renameIfThere(to, from);
    await dissolve(directory);
    throw error;
  }
  await dissolve(directory);
}

/**
 * Finishes a replacement that a process which has ended began, and waits for one that goes on. Costs a
 * look at one name where there is none.
 * @throws WgqaError IO if it cannot be finished
 */
export async function finishReplacement(directory: string): Promise<void> {
  const folder = path.join(directory, COMMIT_FOLDER);
  const deadline = Date.now() + PATIENCE_MILLISECONDS;
  for (;;) {
    const journal = await readJournal(folder);
    if (journal === undefined) return;
    if (await isLeftBehind(folder, journal.owner).catch(() => false)) {
      await rollForward(directory, journal);
      return;
    }
    if (Date.now() > deadline) {
      const message = `another process is saving into ${directory}; if it has ended, remove ${folder}`;
      throw new WgqaError('IO', message, { field: directory });
    }
    await sleep(POLL_MILLISECONDS);
  }
}

async function commit(directory: string, staging: string): Promise<void> {
  for (;;) {
    await finishReplacement(directory);
    try {
      await rename(staging, path.join(directory, COMMIT_FOLDER));
      return;
    } catch (error) {
      // Another save was faster: a folder that is not empty is not replaced.
      if (!['ENOTEMPTY', 'EEXIST'].includes(systemCode(error) ?? '')) throw error;
    }
  }
}

/** Renames from and to, in order: old files go out of the way first, so that each can be undone. */
function movesOf(directory: string, { names, obsolete }: Journal): [string, string][] {
  const folder = path.join(directory, COMMIT_FOLDER);
  const outOfTheWay = (name: string): [string, string] => [
    path.join(directory, name),
    path.join(folder, OLD, name),
  ];
  return [
    ...obsolete.map(outOfTheWay),
    ...names.flatMap((name): [string, string][] => [
      outOfTheWay(name),
      [path.join(folder, NEW, name), path.join(directory, name)],
    ]),
  ];
}

async function rollForward(directory: string, journal: Journal): Promise<void> {
  const folder = path.join(directory, COMMIT_FOLDER);
  try {
    const left = new Set(await readdir(path.join(folder, NEW)));
    const names = journal.names.filter((name) => left.has(name));
    for (const move of movesOf(directory, { ...journal, names })) await renameIfThere(...move);
    await dissolve(directory);
  } catch (error) {
    const code = systemCode(error);
    // Another process does the same.
    if (code === 'ENOENT') return;
    const message = `${directory} holds a save that was interrupted and cannot be finished (${code ?? 'unknown'})`;
    throw new WgqaError('IO', `${message}: make it writable`, { field: directory, cause: error });
  }
}

async function renameIfThere(from: string, to: string): Promise<void> {
  try {
    await rename(from, to);
  } catch (error) {
    if (systemCode(error) !== 'ENOENT') throw error;
  }
}

/** Ends a replacement in one step; what is left is rubbish that any later save removes. */
async function dissolve(directory: string): Promise<void> {
  const rubbish = path.join(directory, newStagingName());
  await rename(path.join(directory, COMMIT_FOLDER), rubbish);
  await rm(rubbish, { recursive: true, force: true });
}

async function readJournal(folder: string): Promise<Journal | undefined> {
  const file = path.join(folder, JOURNAL);
  try {
    for (const part of [folder, path.join(folder, NEW), path.join(folder, OLD)]) {
      // A link of a stranger's checkpoint would move files from elsewhere.
      if (!(await lstat(part)).isDirectory()) return undefined;
    }
    const bytes = await readRegularFile(file, MAX_JOURNAL_BYTES);
    const journal = JSON.parse(Buffer.from(bytes).toString()) as Partial<Journal> | null;
    const { owner, names, obsolete } = journal ?? {};
    if (typeof owner === 'string' && areNames(names) && areNames(obsolete)) {
      return { owner, names, obsolete };
    }
  } catch (error) {
    const translated = readError(error, file);
    if (translated instanceof WgqaError && translated.code === 'NOT_FOUND') return undefined;
    if (!(error instanceof SyntaxError)) throw translated;
  }
  const message = `${file} is no journal of a save: remove ${folder}`;
  throw new WgqaError('INVALID_FILE', message, { field: file });
}

/** Names of files in a directory: a journal must not reach outside of it. */
function areNames(value: unknown): value is string[] {
  return (
    Array.isArray(value) &&
    value.every(
      (name) => typeof name === 'string' && /^[^/\\\0]+$/.test(name) && !/^\.{1,2}$/.test(name),
    )
  );
}
