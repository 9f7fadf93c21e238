/** From the name of a model to a directory that holds it. */
import { readFile, stat, statfs } from 'node:fs/promises';
import path from 'node:path';
import { throwIfAborted } from '../abort.ts';
import { readError, systemCode } from '../checkpoint/io-errors.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import {
  booleanRule,
  checkOptions,
  checkValue,
  functionRule,
  signalRule,
  stringRule,
  type Checked,
  type Rules,
} from '../options.ts';
import { RepositoryCache } from './cache.ts';
import { HubClient } from './client.ts';
import { downloadBlob } from './download.ts';
import { chooseModel, type FileChoice } from './files.ts';
import type { ListedFile, Listing } from './listing.ts';
import { checkRevision, isCommit, parseHubName } from './name.ts';
import { notCached, type Subject } from './problems.ts';
import { readSettings, type HubSettings } from './settings.ts';

export interface ResolveModelOptions {
  readonly signal?: AbortSignal;
  /** Called while files are downloaded, with bytes: those that are there, and all. */
  readonly onProgress?: (done: number, total: number) => void;
  /** Holds `models--org--name`. Default: HF_HUB_CACHE, or `hub` in HF_HOME, or ~/.cache/huggingface/hub. */
  readonly cacheDir?: string;
  /** Ask nothing of the network. Default: HF_HUB_OFFLINE. */
  readonly offline?: boolean;
  /** A branch, a tag or a commit, where the name has none. Default: main. */
  readonly revision?: string;
}

/** Options of whatever takes the name of a model. */
export const HUB_RULES = {
  signal: signalRule,
  cacheDir: stringRule,
  offline: booleanRule,
  revision: stringRule,
} satisfies Rules;

/** Of the checked options of a function that loads a model, those of `resolveModel`. */
export function hubOptions({
  onProgress,
  ...given
}: Checked<typeof HUB_RULES> & {
  onProgress?: (done: number, total: number, unit: 'bytes') => void;
}): ResolveModelOptions {
  const { signal, cacheDir, offline, revision } = given;
  const options = { signal, cacheDir, offline, revision };
  return {
    ...(Object.fromEntries(
      Object.entries(options).filter(([, value]) => value !== undefined),
    ) as ResolveModelOptions),
    ...(onProgress && {
      onProgress: (done: number, total: number) => {
        onProgress(done, total, 'bytes');
      },
    }),
  };
}

const RULES = {
  ...HUB_RULES,
  onProgress: functionRule<(done: number, total: number) => void>(),
} satisfies Rules;

const DEFAULT_REVISION = 'main';
const PARALLEL_DOWNLOADS = 4;
/** Files that are read whole: everything but weights. */
const MAX_SMALL_FILE_BYTES = 256 << 20;
const MAX_INDEX_BYTES = 100 << 20;

/**
 * Finds a model: a path on the disk is returned as it is; `org/name`, `org/name@revision`, or the
 * address of its page, is looked up on the hub and downloaded into the cache of Hugging Face's Python
 * library as far as it is not there. Read are HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT,
 * HF_HUB_OFFLINE, HF_HUB_DOWNLOAD_TIMEOUT, HTTP_PROXY, HTTPS_PROXY and NO_PROXY.
 * @returns a directory with configuration, tokenizer and weights
 * @throws WgqaError NOT_FOUND, ACCESS_DENIED, NETWORK, INVALID_FILE, INVALID_ARGUMENT, UNSUPPORTED,
 *   NO_SPACE, IO, ABORTED
 */
export async function resolveModel(
  nameOrDirectory: string,
  options: ResolveModelOptions = {},
): Promise<string> {
  return resolveFiles(nameOrDirectory, options, chooseModel);
}

/** As `resolveModel`, for other files of a repository. */
export async function resolveFiles(
  nameOrDirectory: string,
  options: ResolveModelOptions,
  choose: FileChoice,
): Promise<string> {
  checkValue(nameOrDirectory, stringRule, 'directory');
  const given = checkOptions(options, RULES);
  throwIfAborted(given.signal);
  const name = nameOrDirectory.includes('\0') ? undefined : parseHubName(nameOrDirectory);
  if (name === undefined || (await exists(nameOrDirectory))) {
    if (given.revision !== undefined) {
      throw invalidArgument('revision', 'absent for a directory', given.revision);
    }
    if (name === undefined) await requirePath(nameOrDirectory);
    return nameOrDirectory;
  }
  const revision = chosenRevision(name.revision, given.revision);
  const settings = await readSettings(process.env, given);
  const search = new Search({ repository: name.repository, revision }, settings, given);
  try {
    return await search.run(choose);
  } finally {
    await search.close();
  }
}

async function exists(file: string): Promise<boolean> {
  try {
    await stat(file);
    return true;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(systemCode(error) ?? '')) return false;
    throw readError(error, file);
  }
}

async function requirePath(file: string): Promise<void> {
  if (!file.includes('\0') && (await exists(file))) return;
  const hint = /^[\w.-]+$/.test(file)
    ? '; models of the hub are named org/name, as google/flan-t5-small'
    : '';
  throw new WgqaError('NOT_FOUND', `${file} does not exist${hint}`, {
    field: file,
    allowed: "a directory, or 'org/name[@revision]' of the hub",
  });
}

function chosenRevision(named: string | undefined, given: string | undefined): string {
  if (named !== undefined && given !== undefined && named !== given) {
    throw invalidArgument('revision', `absent, or ${named}, which the name has`, given);
  }
  return named ?? (given === undefined ? DEFAULT_REVISION : checkRevision(given));
}

/** One look-up of a repository. */
class Search {
  readonly #settings: HubSettings;
  readonly #subject: Subject;
  /** Ends everything once a part has failed. */
  readonly #abort = new AbortController();
  readonly #signal: AbortSignal;
  readonly #onProgress: ((done: number, total: number) => void) | undefined;
  readonly #cache: RepositoryCache;
  #client: Promise<HubClient> | undefined;

  constructor(
    name: { readonly repository: string; readonly revision: string },
    settings: HubSettings,
    { signal, onProgress }: Pick<ResolveModelOptions, 'signal' | 'onProgress'>,
  ) {
    const { endpoint, token, cacheDirectory } = settings;
    this.#settings = settings;
    this.#subject = { ...name, endpoint, hasToken: token !== undefined };
    this.#signal = AbortSignal.any([this.#abort.signal, ...(signal ? [signal] : [])]);
    this.#onProgress = onProgress;
    this.#cache = new RepositoryCache(cacheDirectory, name.repository);
  }

  async run(choose: FileChoice): Promise<string> {
    const { revision } = this.#subject;
    const commit = isCommit(revision) ? revision : await this.#findCommit();
    const listing = await this.#findListing(commit);
    if (listing === undefined) await this.#checkUnlisted(commit, choose);
    else await this.#download(commit, listing, choose);
    if (!isCommit(revision)) await this.#cache.writeRef(revision, commit);
    return this.#cache.snapshot(commit);
  }

  async close(): Promise<void> {
    await (await this.#client)?.close();
  }

  #online(): Promise<HubClient> {
    this.#client ??= HubClient.open(this.#settings, this.#subject, this.#signal);
    return this.#client;
  }

  /** A hub that cannot be reached is no reason not to use what is in the cache. */
  async #findCommit(): Promise<string> {
    const { repository, revision } = this.#subject;
    const cached = await this.#cache.readRef(revision);
    if (this.#settings.offline) {
      if (cached !== undefined) return cached;
      throw notCached('its revision was never asked for', this.#subject);
    }
    try {
      return await (await this.#online()).commit(cached === undefined ? undefined : 1);
    } catch (error) {
      const isDown = error instanceof WgqaError && error.code === 'NETWORK';
      if (!isDown || cached === undefined) throw error;
      process.emitWarning(`${error.message}. Going on with ${repository}@${cached} of the cache`, {
        code: 'WGQA_HUB_UNREACHABLE',
      });
      return cached;
    }
  }

  /** Undefined where only the network would know. */
  async #findListing(commit: string): Promise<Listing | undefined> {
    const cached = await this.#cache.readListing(commit);
    if (cached !== undefined || this.#settings.offline) return cached;
    try {
      const listing = await (await this.#online()).listing(commit);
      await this.#cache.writeListing(commit, listing);
      return listing;
    } catch (error) {
      const isDown = error instanceof WgqaError && error.code === 'NETWORK';
      if (!isDown || (await this.#cache.snapshotFiles(commit)).length === 0) throw error;
      return undefined;
    }
  }

  /** Older versions of Python's library keep no listing: what a commit's folder holds must do. */
  async #checkUnlisted(commit: string, choose: FileChoice): Promise<void> {
    const paths = new Set(await this.#cache.snapshotFiles(commit));
    const read = (name: string): Promise<Uint8Array> => this.#read(commit, name);
    const chosen = await Promise.resolve()
      .then(() => choose(paths, read))
      .catch((error: unknown) => {
        const isMissing = error instanceof WgqaError && error.code === 'UNSUPPORTED';
        throw isMissing ? notCached(error.message, this.#subject) : error;
      });
    const missing = chosen.find((name) => !paths.has(name));
    if (missing !== undefined) throw notCached(`${missing} is missing`, this.#subject);
  }

  async #download(commit: string, listing: Listing, choose: FileChoice): Promise<void> {
    const fileOf = (name: string): ListedFile => {
      const file = listing.get(name);
      if (file !== undefined) return file;
      throw new WgqaError('INVALID_FILE', `${this.#subject.repository} lists no ${name}`, {
        field: name,
      });
    };
    const read = async (name: string): Promise<Uint8Array> => {
      const file = fileOf(name);
      checkSize(file, MAX_INDEX_BYTES);
      await this.#fetch(commit, [file]);
      return this.#read(commit, name);
    };
    const chosen = await choose(new Set(listing.keys()), read);
    const files = [...new Set(chosen)].map(fileOf);
    for (const file of files) {
      if (!/\.(safetensors|bin|onnx|onnx_data)$/.test(file.path))
        checkSize(file, MAX_SMALL_FILE_BYTES);
    }
    await this.#fetch(commit, files, this.#onProgress);
  }

  async #read(commit: string, name: string): Promise<Uint8Array> {
    const file = path.join(this.#cache.snapshot(commit), name);
    return readFile(file).catch((error: unknown) => {
      throw readError(error, file);
    });
  }

  /** Downloads what is missing of `files`, several at once, and links them into the commit's folder. */
  async #fetch(
    commit: string,
    files: readonly ListedFile[],
    onProgress: (done: number, total: number) => void = () => undefined,
  ): Promise<void> {
    const missing: ListedFile[] = [];
    for (const file of files) {
      if (await this.#cache.has(commit, file)) continue;
      if (await this.#cache.hasBlob(file)) await this.#cache.link(commit, file);
      else missing.push(file);
    }
    if (missing.length === 0) return;
    if (this.#settings.offline) {
      throw notCached(`${missing[0]!.path} is missing`, this.#subject);
    }
    await this.#requireSpace(missing);
    const total = missing.reduce((sum, { size }) => sum + size, 0);
    const bytes = new Map(missing.map(({ path: name }) => [name, 0]));
    await this.#inParallel(missing, async (file) => {
      const onBytes = (count: number): void => {
        bytes.set(file.path, count);
        onProgress(
          [...bytes.values()].reduce((sum, n) => sum + n, 0),
          total,
        );
      };
      const [client, cache, signal] = [await this.#online(), this.#cache, this.#signal];
      await downloadBlob({ client, cache, commit, file, signal, onBytes });
      await cache.link(commit, file);
    });
  }

  /** The first failure ends the other downloads; it is thrown when they have ended. */
  async #inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
    const queue = [...items];
    const failures: unknown[] = [];
    const worker = async (): Promise<void> => {
      for (let item = queue.shift(); item !== undefined; item = queue.shift()) {
        try {
          await work(item);
        } catch (error) {
          failures.push(error);
          queue.length = 0;
          this.#abort.abort(error);
        }
      }
    };
    await Promise.all(Array.from({ length: PARALLEL_DOWNLOADS }, worker));
    if (failures.length > 0) throw failures[0];
  }

  /** Before anything is downloaded: the disk would be full at the end. */
  async #requireSpace(files: readonly ListedFile[]): Promise<void> {
    let bytes = 0;
    for (const file of files) bytes += file.size - (await this.#cache.partialBytes(file));
    const { cacheDirectory } = this.#settings;
    const free = await freeBytes(cacheDirectory);
    if (bytes <= free) return;
    throw new WgqaError(
      'NO_SPACE',
      `${this.#subject.repository} needs ${bytes} bytes, and ${cacheDirectory} has ${free} left: free ` +
        'some, or set HF_HUB_CACHE or `cacheDir` to another disk',
      { field: cacheDirectory, allowed: `at most ${free} bytes` },
    );
  }
}

function checkSize({ path: name, size }: ListedFile, maxBytes: number): void {
  if (size <= maxBytes) return;
  throw new WgqaError('INVALID_FILE', `${name} has ${size} bytes, more than ${maxBytes}`, {
    field: name,
    allowed: `at most ${maxBytes} bytes`,
  });
}

/** Of the disk where a folder is, or will be; of one that does not say, as many as can be. */
async function freeBytes(folder: string): Promise<number> {
  for (let current = folder; ; current = path.dirname(current)) {
    try {
      const { bavail, bsize } = await statfs(current);
      return bavail * bsize;
    } catch {
      if (current === path.dirname(current)) return Number.MAX_SAFE_INTEGER;
    }
  }
}
