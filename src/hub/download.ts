/** One content of the cache, from the hub: locked, continued where it stopped, and checked. */
import { constants } from 'node:fs';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import type { Hash } from 'node:crypto';
import { throwIfAborted } from '../abort.ts';
import { systemCode, writeError } from '../checkpoint/io-errors.ts';
import { WgqaError } from '../errors.ts';
import type { RepositoryCache } from './cache.ts';
import type { HubClient, HubResponse } from './client.ts';
import { blobName, startHash, type ListedFile } from './listing.ts';
import { lockFile } from './lock.ts';
import { PassingProblem, problemOf } from './problems.ts';

const READ_BYTES = 1 << 20;

export interface BlobRequest {
  readonly client: HubClient;
  readonly cache: RepositoryCache;
  readonly commit: string;
  readonly file: ListedFile;
  readonly signal: AbortSignal | undefined;
  /** Called with the bytes that are there, which grow, and fall where something must be repeated. */
  readonly onBytes: (bytes: number) => void;
}

/**
 * Brings a file's content into the cache. What another process downloads meanwhile is waited for,
 * and what an earlier one left unfinished is continued.
 * @throws WgqaError NETWORK, ACCESS_DENIED, NOT_FOUND, INVALID_FILE, NO_SPACE, IO, ABORTED
 */
export async function downloadBlob(request: BlobRequest): Promise<void> {
  const { cache, file, signal, onBytes } = request;
  const lock = await cache.prepareBlob(file);
  const unlock = await lockFile(lock, signal).catch((error: unknown) => {
    throw writeError(error, lock);
  });
  try {
    if (!(await cache.hasBlob(file))) await download(request);
    onBytes(file.size);
  } finally {
    await unlock();
  }
}

async function download(request: BlobRequest): Promise<void> {
  const { cache, file } = request;
  const name = cache.incomplete(file);
  try {
    const continued = await transfer(request, name);
    if (continued === 'whole') {
      await rename(name, cache.blob(file));
      return;
    }
    await rm(name, { force: true });
    // What an earlier process left may have been the fault.
    if (continued === 'corrupt-continued' && (await transfer(request, name)) === 'whole') {
      await rename(name, cache.blob(file));
      return;
    }
    await rm(name, { force: true });
  } catch (error) {
    if (isFull(error)) await rm(name, { force: true });
    // Without locks, another process may have finished, and renamed what both wrote.
    if (systemCode(error) === 'ENOENT' && (await cache.hasBlob(file))) return;
    throw writeError(error, name);
  }
  throw new WgqaError(
    'INVALID_FILE',
    `${file.path} arrived with another checksum than ${blobName(file)}, which the hub lists: it was ` +
      'changed on the way; try again, or check HF_ENDPOINT and proxies',
    { field: file.path },
  );
}

function isFull(error: unknown): boolean {
  return ['ENOSPC', 'EDQUOT'].includes(systemCode(error) ?? '');
}

/** Writes the rest of the content, and says whether all of it is right. */
async function transfer(
  { client, commit, file, signal, onBytes }: BlobRequest,
  name: string,
): Promise<'whole' | 'corrupt' | 'corrupt-continued'> {
  const partial = await PartialFile.open(name, file, signal);
  const continued = partial.position > 0;
  try {
    await client.retry(async (progressed) => {
      onBytes(partial.position);
      if (partial.position === file.size) return;
      const response = await client.file(commit, file.path, partial.position);
      await placeAt(response, partial, client);
      for await (const chunk of client.body(response)) {
        throwIfAborted(signal);
        await partial.write(chunk);
        onBytes(partial.position);
        progressed();
      }
      if (partial.position < file.size) {
        throw new PassingProblem(
          `the connection ended at byte ${partial.position} of ${file.size}`,
        );
      }
    });
    if (await partial.finish()) return 'whole';
    return continued ? 'corrupt-continued' : 'corrupt';
  } finally {
    await partial.close();
  }
}

/** Makes sure that what the response holds is what comes next. */
async function placeAt(
  response: HubResponse,
  partial: PartialFile,
  client: HubClient,
): Promise<void> {
  const { status, headers } = response;
  if (status === 206) {
    const start = /^bytes (\d+)-/.exec(headers.get('content-range') ?? '')?.[1];
    if (Number(start) === partial.position) return;
  } else if (status === 200) {
    // A server may take no notice of the range.
    partial.restart();
    return;
  }
  await response.body?.cancel();
  if (status !== 206 && status !== 416) throw problemOf(response, client.subject);
  partial.restart();
  throw new PassingProblem('the server cannot continue a download');
}

/**
 * A content that is not whole yet. Chunks are written where they belong, not appended: two processes
 * that hold no lock write the same bytes to the same places.
 */
class PartialFile {
  readonly #handle: FileHandle;
  readonly #file: ListedFile;
  #hash: Hash;
  #position = 0;

  private constructor(handle: FileHandle, file: ListedFile) {
    this.#handle = handle;
    this.#file = file;
    this.#hash = startHash(file);
  }

  static async open(
    name: string,
    file: ListedFile,
    signal: AbortSignal | undefined,
  ): Promise<PartialFile> {
    const { O_RDWR, O_CREAT, O_NOFOLLOW, O_NONBLOCK } = constants;
    const handle = await open(name, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK, 0o666);
    const partial = new PartialFile(handle, file);
    try {
      await partial.#takeOver(signal);
      return partial;
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  /** Bytes that are there. */
  get position(): number {
    return this.#position;
  }

  restart(): void {
    this.#position = 0;
    this.#hash = startHash(this.#file);
  }

  async write(chunk: Uint8Array): Promise<void> {
    const { path, size } = this.#file;
    if (this.#position + chunk.byteLength > size) {
      throw new WgqaError(
        'INVALID_FILE',
        `${path} has more than the ${size} bytes it is listed with`,
        {
          field: path,
        },
      );
    }
    this.#hash.update(chunk);
    for (let done = 0; done < chunk.byteLength;) {
      const length = chunk.byteLength - done;
      const at = this.#position + done;
      done += (await this.#handle.write(chunk, done, length, at)).bytesWritten;
    }
    this.#position += chunk.byteLength;
  }

  /** Whether the whole content has its checksum; it then is on the disk. */
  async finish(): Promise<boolean> {
    if (this.#hash.digest('hex') !== blobName(this.#file)) return false;
    await this.#handle.truncate(this.#file.size);
    await this.#handle.sync();
    return true;
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  /** Reads what is there already, for the checksum. */
  async #takeOver(signal: AbortSignal | undefined): Promise<void> {
    const status = await this.#handle.stat();
    if (!status.isFile() || status.size > this.#file.size) {
      await this.#handle.truncate(0);
      return;
    }
    const buffer = Buffer.allocUnsafe(Math.min(READ_BYTES, status.size));
    while (this.#position < status.size) {
      throwIfAborted(signal);
      const { bytesRead } = await this.#handle.read(buffer, 0, buffer.length, this.#position);
      if (bytesRead === 0) return;
      this.#hash.update(buffer.subarray(0, bytesRead));
      this.#position += bytesRead;
    }
  }
}
