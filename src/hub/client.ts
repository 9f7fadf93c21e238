/**
 * Requests to a hub: through proxies, with the token for the hub alone, bounded in size and time, and
 * tried again where a failure may pass.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type * as huggingface from '@huggingface/hub';
import type * as undici from 'undici';
import { WgqaError } from '../errors.ts';
import { abortError, throwIfAborted } from '../abort.ts';
import { isCommit } from './name.ts';
import { checkListing, type Listing } from './listing.ts';
import { notAHub, PassingProblem, problemOf, unreachable, type Subject } from './problems.ts';
import type { HubSettings } from './settings.ts';

/** Of one answer of the hub's API; the listing of a thousand files has some 300 KiB. */
const MAX_ANSWER_BYTES = 32 << 20;
const ATTEMPTS = 5;
const FIRST_WAIT_MS = 250;

type Undici = typeof undici;
/** A response of undici, whose types are not quite those of Node's own. */
export type HubResponse = undici.Response;

export class HubClient {
  readonly #undici: Undici;
  readonly #dispatcher: undici.Dispatcher;
  readonly #settings: HubSettings;
  readonly #signal: AbortSignal | undefined;
  readonly subject: Subject;

  private constructor(
    library: Undici,
    settings: HubSettings,
    name: { readonly repository: string; readonly revision: string },
    signal: AbortSignal | undefined,
  ) {
    this.#undici = library;
    this.#settings = settings;
    this.#signal = signal;
    const { endpoint, token, timeoutMs } = settings;
    this.subject = { ...name, endpoint, hasToken: token !== undefined };
    // Reads HTTP_PROXY, HTTPS_PROXY and NO_PROXY, which Node's own fetch of version 20 does not.
    this.#dispatcher = new library.EnvHttpProxyAgent({
      connect: { timeout: timeoutMs },
      headersTimeout: timeoutMs,
      bodyTimeout: timeoutMs,
    });
  }

  /** Loads undici only where something is asked of the network. */
  static async open(
    settings: HubSettings,
    name: { readonly repository: string; readonly revision: string },
    signal: AbortSignal | undefined,
  ): Promise<HubClient> {
    return new HubClient(await import('undici'), settings, name, signal);
  }

  async close(): Promise<void> {
    await this.#dispatcher.destroy();
  }

  /** The commit that the revision names now; asked for once only, where the cache can answer, too. */
  async commit(attempts = ATTEMPTS): Promise<string> {
    const { repository, revision } = this.subject;
    const { sha } = await this.#ask(async ({ modelInfo }, fetch, hubUrl) => {
      return modelInfo({ name: repository, revision, additionalFields: ['sha'], hubUrl, fetch });
    }, attempts);
    if (typeof sha === 'string' && isCommit(sha)) return sha;
    throw notAHub('it names no commit', this.subject);
  }

  /** Every file of a commit. */
  async listing(commit: string): Promise<Listing> {
    return this.#ask(async ({ listFiles }, fetch, hubUrl) => {
      const repo = this.subject.repository;
      const entries = listFiles({ repo, revision: commit, recursive: true, hubUrl, fetch });
      return checkListing(entries, this.subject);
    });
  }

  /** A file from its byte `start` on; the caller checks the status and reads the body. */
  async file(commit: string, path: string, start: number): Promise<HubResponse> {
    const name = path.split('/').map(encodeURIComponent).join('/');
    const { endpoint, repository } = this.subject;
    return this.#request(`${endpoint}/${repository}/resolve/${commit}/${name}`, {
      'accept-encoding': 'identity',
      ...(start > 0 && { range: `bytes=${start}-` }),
    });
  }

  /**
   * Calls `work` until it ends well, fails for good, or has failed too often. `work` says whether it
   * came further, which sets the count back.
   */
  async retry<T>(work: (progressed: () => void) => Promise<T>, attempts = ATTEMPTS): Promise<T> {
    for (let failures = 0; ;) {
      try {
        return await work(() => (failures = 0));
      } catch (error) {
        if (this.#signal?.aborted) throw abortError(this.#signal);
        if (!(error instanceof PassingProblem)) throw error;
        failures += 1;
        if (failures >= attempts) throw unreachable(error, this.subject);
        const waitMs = error.waitMs ?? FIRST_WAIT_MS * 2 ** (failures - 1);
        // Aborted, it rejects, and so does the next attempt.
        await delay(waitMs, undefined, { signal: this.#signal }).catch(() => undefined);
      }
    }
  }

  /** Lets Hugging Face's library ask; what its requests throw on purpose passes through it. */
  async #ask<T>(
    question: (
      library: typeof huggingface,
      fetch: typeof globalThis.fetch,
      hubUrl: string,
    ) => Promise<T>,
    attempts = ATTEMPTS,
  ): Promise<T> {
    const library = await import('@huggingface/hub');
    const fetch = async (input: unknown): Promise<Response> =>
      this.#answer(String(input), attempts);
    try {
      return await question(library, fetch, this.subject.endpoint);
    } catch (error) {
      if (error instanceof WgqaError) throw error;
      const detail = error instanceof Error ? error.message : String(error);
      throw notAHub(detail.slice(0, 200), this.subject, error);
    }
  }

  /** A whole answer of the API. */
  async #answer(url: string, attempts: number): Promise<Response> {
    return this.retry(async () => {
      const response = await this.#request(url, { accept: 'application/json' });
      if (!response.ok) {
        await response.body?.cancel();
        throw problemOf(response, this.subject);
      }
      const body = await this.#readBounded(response);
      const { status } = response;
      return new Response(new Uint8Array(body), { status, headers: [...response.headers] });
    }, attempts);
  }

  async #readBounded(response: HubResponse): Promise<Buffer> {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    for await (const chunk of this.body(response)) {
      bytes += chunk.byteLength;
      if (bytes > MAX_ANSWER_BYTES) {
        throw notAHub(`an answer has more than ${MAX_ANSWER_BYTES} bytes`, this.subject);
      }
      chunks.push(chunk);
    }
    return Buffer.concat(chunks);
  }

  /** The chunks of a response; a connection that is cut throws a PassingProblem. */
  async *body(response: HubResponse): AsyncGenerator<Uint8Array> {
    try {
      if (response.body !== null) yield* response.body as AsyncIterable<Uint8Array>;
    } catch (cause) {
      throwIfAborted(this.#signal);
      throw new PassingProblem(`the connection was cut (${reasonOf(cause)})`, { cause });
    }
  }

  async #request(url: string, headers: Readonly<Record<string, string>>): Promise<HubResponse> {
    throwIfAborted(this.#signal);
    const { token } = this.#settings;
    // A listing may continue at any address that the server names; a redirection drops the header.
    const own = new URL(url).origin === new URL(this.subject.endpoint).origin;
    try {
      return await this.#undici.fetch(url, {
        headers: {
          'user-agent': 'wgqa',
          ...headers,
          ...(own && token !== undefined && { authorization: `Bearer ${token}` }),
        },
        dispatcher: this.#dispatcher,
        ...(this.#signal && { signal: this.#signal }),
      });
    } catch (cause) {
      throwIfAborted(this.#signal);
      throw new PassingProblem(`${new URL(url).origin} cannot be reached (${reasonOf(cause)})`, {
        cause,
      });
    }
  }
}

/** fetch says "fetch failed", and its cause why. */
function reasonOf(error: unknown): string {
  const { cause } = error as { cause?: unknown };
  const { code, message } = (cause ?? error) as { code?: unknown; message?: unknown };
  return String(code ?? message ?? error).slice(0, 200);
}
