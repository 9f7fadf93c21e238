/** The files of a commit, as the hub lists them. */
import { createHash, type Hash } from 'node:crypto';
import { isRecord } from '../options.ts';
import { notAHub, type Subject } from './problems.ts';

export interface ListedFile {
  /** Relative to the repository, with slashes. */
  readonly path: string;
  readonly size: number;
  /** Name in git: SHA-1 of a header and the content, or of a pointer. */
  readonly blobId: string;
  /** SHA-256 of the content, of files in large file storage. */
  readonly sha256: string | undefined;
  readonly xetHash: string | undefined;
}

export type Listing = ReadonlyMap<string, ListedFile>;

const MAX_FILES = 100_000;
const MAX_PATH_LENGTH = 1024;

/** @throws WgqaError INVALID_FILE for anything that could not be a listing */
export async function checkListing(
  entries: AsyncIterable<unknown>,
  subject: Subject,
): Promise<Listing> {
  const files = new Map<string, ListedFile>();
  let count = 0;
  for await (const entry of entries) {
    count += 1;
    if (count > MAX_FILES) throw notAHub(`it lists more than ${MAX_FILES} files`, subject);
    if (!isRecord(entry)) throw notAHub('a listed file is no object', subject);
    if (entry['type'] !== 'file') continue;
    const file = toListedFile(entry);
    if (file === undefined) {
      throw notAHub(`it lists the file ${String(entry['path']).slice(0, 80)}`, subject);
    }
    files.set(file.path, file);
  }
  return files;
}

function toListedFile(entry: Readonly<Record<string, unknown>>): ListedFile | undefined {
  const lfs = isRecord(entry['lfs']) ? entry['lfs'] : {};
  const { xetHash } = entry;
  return checkFile({
    path: entry['path'],
    size: lfs['size'] ?? entry['size'],
    blobId: entry['oid'],
    sha256: lfs['oid'],
    xetHash: isHex(xetHash, 64) ? xetHash : undefined,
  });
}

/** Undefined unless each property is what it must be: paths and sums become names in the cache. */
export function checkFile(file: {
  readonly [K in keyof ListedFile]: unknown;
}): ListedFile | undefined {
  const { path, size, blobId, sha256, xetHash } = file;
  if (!isSafePath(path) || !Number.isSafeInteger(size) || (size as number) < 0) return undefined;
  if (!isHex(blobId, 40) || !(sha256 === undefined || isHex(sha256, 64))) return undefined;
  if (!(xetHash === undefined || isHex(xetHash, 64))) return undefined;
  return { path, size: size as number, blobId, sha256, xetHash };
}

/** A path below the repository, without hidden ways up. */
export function isSafePath(path: unknown): path is string {
  return (
    typeof path === 'string' &&
    path.length <= MAX_PATH_LENGTH &&
    // eslint-disable-next-line no-control-regex -- they are what is looked for
    !/[\u0000-\u001f\\]/.test(path) &&
    path.split('/').every((part) => part !== '' && part !== '.' && part !== '..')
  );
}

function isHex(value: unknown, length: number): value is string {
  return typeof value === 'string' && value.length === length && /^[0-9a-f]+$/.test(value);
}

/** What the file is called among the cache's blobs: as Python's library, which takes it from the ETag. */
export function blobName({ sha256, blobId }: ListedFile): string {
  return sha256 ?? blobId;
}

/** Whose digest of the content is `blobName`. */
export function startHash({ sha256, size }: ListedFile): Hash {
  return sha256 === undefined ? createHash('sha1').update(`blob ${size}\0`) : createHash('sha256');
}
