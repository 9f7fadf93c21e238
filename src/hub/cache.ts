/**
 * One model in the cache, laid out as by Hugging Face's Python library: contents in `blobs`, under
 * their checksum; a folder of links to them for each commit in `snapshots`; which commit a branch had
 * in `refs`; which files a commit has in `trees`.
 */
import { randomBytes } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { systemCode, writeError } from '../checkpoint/io-errors.ts';
import { readOptionalJsonFile } from '../checkpoint/json.ts';
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';
import { blobName, checkFile, isSafePath, type Listing, type ListedFile } from './listing.ts';
import { isCommit } from './name.ts';

const TREE_FORMAT_VERSION = 1;
const MAX_TREE_BYTES = 64 << 20;

export class RepositoryCache {
  readonly root: string;
  readonly #locks: string;

  constructor(cacheDirectory: string, repository: string) {
    const folder = `models--${repository.replace('/', '--')}`;
    this.root = path.join(cacheDirectory, folder);
    this.#locks = path.join(cacheDirectory, '.locks', folder);
  }

  snapshot(commit: string): string {
    return path.join(this.root, 'snapshots', commit);
  }

  blob(file: ListedFile): string {
    return path.join(this.root, 'blobs', blobName(file));
  }

  /** Where the blob is while it is not whole. */
  incomplete(file: ListedFile): string {
    return `${this.blob(file)}.incomplete`;
  }

  /** The file to lock while a blob is made. Makes the folders of both. */
  async prepareBlob(file: ListedFile): Promise<string> {
    await makeFolder(this.#locks);
    await makeFolder(path.join(this.root, 'blobs'));
    return path.join(this.#locks, `${blobName(file)}.lock`);
  }

  /** Whether the blob is there, in its full length. */
  async hasBlob(file: ListedFile): Promise<boolean> {
    return (await sizeOf(this.blob(file))) === file.size;
  }

  /** Whether the commit's folder has the file. */
  async has(commit: string, file: ListedFile): Promise<boolean> {
    return (await sizeOf(path.join(this.snapshot(commit), file.path))) === file.size;
  }

  /** Bytes of it that an earlier download left. */
  async partialBytes(file: ListedFile): Promise<number> {
    return (await sizeOf(this.incomplete(file))) ?? 0;
  }

  /** The commit that a branch or tag had when it was last asked for. */
  async readRef(revision: string): Promise<string | undefined> {
    const text = await readFile(path.join(this.root, 'refs', revision), 'utf8').catch(() => '');
    return isCommit(text.trim()) ? text.trim() : undefined;
  }

  /** A cache that may only be read keeps its ref. */
  async writeRef(revision: string, commit: string): Promise<void> {
    if ((await this.readRef(revision)) === commit) return;
    await replaceFile(path.join(this.root, 'refs', revision), commit).catch(ignoreReadOnly);
  }

  /** The files of a commit, where they were listed before. */
  async readListing(commit: string): Promise<Listing | undefined> {
    const tree = await readOptionalJsonFile(this.#tree(commit), MAX_TREE_BYTES).catch(
      () => undefined,
    );
    if (tree?.['format_version'] !== TREE_FORMAT_VERSION || !isRecord(tree['files'])) return;
    const listing = new Map<string, ListedFile>();
    for (const [name, entry] of Object.entries(tree['files'])) {
      const file = isRecord(entry) ? fromTree(name, entry) : undefined;
      if (file === undefined) return undefined;
      listing.set(name, file);
    }
    return listing;
  }

  async writeListing(commit: string, listing: Listing): Promise<void> {
    const files = Object.fromEntries(
      [...listing].sort().map(([name, file]) => [name, toTree(file)]),
    );
    const text = JSON.stringify({ format_version: TREE_FORMAT_VERSION, files }, null, 1);
    await replaceFile(this.#tree(commit), text).catch(ignoreReadOnly);
  }

  /** The names of files in a commit's folder: all that is known where the commit was never listed. */
  async snapshotFiles(commit: string): Promise<readonly string[]> {
    const folder = this.snapshot(commit);
    const entries = await readdir(folder, { recursive: true, withFileTypes: true }).catch(() => []);
    const names = entries
      .filter((entry) => !entry.isDirectory())
      .map((entry) => path.relative(folder, path.join(entry.parentPath, entry.name)));
    const sizes = await Promise.all(names.map((name) => sizeOf(path.join(folder, name))));
    return names.filter((name, i) => isSafePath(name) && sizes[i] !== undefined);
  }

  /** Puts a blob into a commit's folder, by a relative link, so that the cache can be moved. */
  async link(commit: string, file: ListedFile): Promise<void> {
    const target = path.join(this.snapshot(commit), file.path);
    await makeFolder(path.dirname(target));
    const temporary = temporaryName(target);
    try {
      await symlink(path.relative(path.dirname(target), this.blob(file)), temporary);
      await rename(temporary, target);
    } catch (error) {
      await rm(temporary, { force: true });
      throw writeError(error, target);
    }
  }

  #tree(commit: string): string {
    return path.join(this.root, 'trees', `${commit}.json`);
  }
}

function fromTree(name: string, entry: Readonly<Record<string, unknown>>): ListedFile | undefined {
  return checkFile({
    path: name,
    size: entry['lfs_size'] ?? entry['size'],
    blobId: entry['blob_id'],
    sha256: entry['lfs_sha256'],
    xetHash: entry['xet_hash'],
  });
}

function toTree({ size, blobId, sha256, xetHash }: ListedFile): Readonly<Record<string, unknown>> {
  return {
    size,
    blob_id: blobId,
    ...(sha256 !== undefined && { lfs_sha256: sha256, lfs_size: size }),
    ...(xetHash !== undefined && { xet_hash: xetHash }),
  };
}

/** Of a file, wherever its links lead; undefined where there is none. */
async function sizeOf(file: string): Promise<number | undefined> {
  const status = await stat(file).catch(() => undefined);
  return status?.isFile() ? status.size : undefined;
}

async function makeFolder(folder: string): Promise<void> {
  try {
    await mkdir(folder, { recursive: true });
  } catch (error) {
    throw writeError(error, folder);
  }
}

async function replaceFile(file: string, text: string): Promise<void> {
  await makeFolder(path.dirname(file));
  const temporary = temporaryName(file);
  try {
    await writeFile(temporary, text, { flag: 'wx' });
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw writeError(error, file);
  }
}

function temporaryName(file: string): string {
  const name = `.${path.basename(file)}.${randomBytes(6).toString('hex')}.tmp`;
  return path.join(path.dirname(file), name);
}

/** What is kept for the next time may be missing where nothing can be written. */
function ignoreReadOnly(error: unknown): void {
  const code = systemCode(error instanceof WgqaError ? error.cause : error);
  if (!['EROFS', 'EACCES', 'EPERM'].includes(code ?? '')) throw error;
}
