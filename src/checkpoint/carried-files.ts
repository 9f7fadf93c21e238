/**
 * What a new checkpoint takes over, byte for byte, from the one its model came from. Whoever converts a
 * stranger's checkpoint often publishes the result, so only what lies in that checkpoint is copied:
 * a link may lead to another file of it, or into the hub's cache that it is a part of.
 */
import { lstat, open, realpath } from 'node:fs/promises';
import path from 'node:path';
import type { OutputFile } from './atomic-directory.ts';
import { checkRegularIfThere, READ_WITHOUT_BLOCKING, readRegularFile } from './regular-file.ts';
import { foreignContent } from './known-formats.ts';
import { nameList, warn } from './warnings.ts';

export const GENERATION_CONFIG_FILE = 'generation_config.json';

const MEBIBYTE = 2 ** 20;
/** Files by name, with the largest sizes that are plausible. */
const CARRIED_FILES: Readonly<Record<string, number>> = {
  [GENERATION_CONFIG_FILE]: MEBIBYTE,
  'tokenizer.json': 128 * MEBIBYTE,
  'tokenizer_config.json': 16 * MEBIBYTE,
  'special_tokens_map.json': 16 * MEBIBYTE,
  'added_tokens.json': 16 * MEBIBYTE,
  'spiece.model': 64 * MEBIBYTE,
  'tokenizer.model': 64 * MEBIBYTE,
  'vocab.json': 64 * MEBIBYTE,
  'merges.txt': 64 * MEBIBYTE,
  'chat_template.jinja': MEBIBYTE,
};
const PIECE_BYTES = 1 << 20;

/** The files of `directory` to be copied; what is there and is not copied is named in a warning. */
export async function carriedFiles(directory: string | undefined): Promise<OutputFile[]> {
  if (directory === undefined) return [];
  const carried: OutputFile[] = [];
  for (const [name, maxBytes] of Object.entries(CARRIED_FILES)) {
    const file = path.join(directory, name);
    const problem = await problemOf(file, maxBytes);
    if (problem === undefined) carried.push({ name, chunks: () => copy(file, maxBytes) });
    else if (problem !== 'missing') {
      warn('WGQA_FILE_NOT_CARRIED', `${nameList([file])} is not copied: it ${problem}`);
    }
  }
  return carried;
}

/**
 * Checks, before work is put into the model of `directory`, that what a save will copy are files.
 * @throws WgqaError INVALID_FILE
 */
export async function checkCarriedFiles(directory: string): Promise<void> {
  const names = Object.keys(CARRIED_FILES);
  await Promise.all(names.map((name) => checkRegularIfThere(path.join(directory, name))));
}

/** Why a file is not copied, as it reads after "it"; 'missing' if it is not there. */
async function problemOf(file: string, maxBytes: number): Promise<string | undefined> {
  const link = await lstat(file).catch(() => undefined);
  if (link === undefined) return 'missing';
  const target = await realpath(file).catch(() => undefined);
  if (target === undefined) return 'is a link that leads nowhere';
  if (link.isSymbolicLink() && !(await isPartOfCheckpoint(target, path.dirname(file)))) {
    return 'is a link out of the checkpoint';
  }
  const found = await lstat(target).catch(() => undefined);
  if (!found?.isFile()) return 'is not a regular file';
  if (found.size > maxBytes) return `has ${found.size} bytes, more than ${maxBytes}`;
  return contentProblem(file, found.size);
}

/** Whether `target` lies in `directory`, or in the blobs of the cache whose snapshot it is. */
async function isPartOfCheckpoint(target: string, directory: string): Promise<boolean> {
  const real = await realpath(directory);
  const roots = [real];
  // models--org--name/snapshots/<revision>/<file> is a link to models--org--name/blobs/<hash>.
  const snapshots = path.dirname(real);
  if (path.basename(snapshots) === 'snapshots') {
    roots.push(path.join(path.dirname(snapshots), 'blobs'));
  }
  return roots.some((root) => target.startsWith(root + path.sep));
}

/** Whether a file is what its name says, as far as its first bytes tell. */
async function contentProblem(file: string, size: number): Promise<string | undefined> {
  const handle = await open(file, READ_WITHOUT_BLOCKING);
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(128), 0, Math.min(size, 128), 0);
    const start = buffer.subarray(0, bytesRead);
    const foreign = foreignContent(start);
    if (foreign !== undefined) return foreign;
    if (file.endsWith('.json') && !/^\s*[{[]/.test(start.toString('latin1'))) return 'is no JSON';
    return undefined;
  } finally {
    await handle.close();
  }
}

/** A file's bytes, counted: it may have changed since it was looked at. */
async function* copy(file: string, maxBytes: number): AsyncGenerator<Uint8Array> {
  const bytes = await readRegularFile(file, maxBytes);
  for (let done = 0; done < bytes.length; done += PIECE_BYTES) {
    yield bytes.subarray(done, done + PIECE_BYTES);
  }
}
