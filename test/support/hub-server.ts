/** A hub on this machine: the protocol of huggingface.co as far as models are downloaded by it. */
import { createHash, randomBytes } from 'node:crypto';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

export interface HubRepository {
  /** Content by path. */
  readonly files: Readonly<Record<string, Uint8Array | string>>;
  /** Paths that lie in large file storage, at another origin. Default: what ends in .safetensors or .bin. */
  readonly largeFiles?: readonly string[];
  /** Branches and tags beside `main`. */
  readonly revisions?: readonly string[];
  /** The token that may read it. */
  readonly token?: string;
  readonly gated?: boolean;
}

/** What goes wrong with one request for a file. */
export type Fault =
  | { readonly cutAfter: number }
  | { readonly status: number; readonly headers?: Readonly<Record<string, string>> }
  | { readonly ignoreRange: true }
  /** One byte, and then nothing. */
  | { readonly stall: () => void }
  | { readonly body: Uint8Array };

export interface SeenRequest {
  readonly path: string;
  readonly range: string | undefined;
  readonly authorization: string | undefined;
  /** Which server was asked. */
  readonly origin: 'hub' | 'storage';
}

interface Stored extends HubRepository {
  readonly commit: string;
}

export class HubServer {
  readonly requests: SeenRequest[] = [];
  /** Faults of requests for contents, by path, used up one after another. */
  readonly faults = new Map<string, Fault[]>();
  /** What a listing says, where it is not the truth. */
  listing: ((entries: unknown[]) => unknown) | undefined;
  /** Entries of a page of a listing. */
  pageSize = 1000;
  readonly #repositories = new Map<string, Stored>();
  readonly #hub: Server;
  readonly #storage: Server;
  readonly #sockets = new Set<Socket>();

  constructor() {
    this.#hub = createServer((request, response) => {
      this.#serve(request, response, 'hub');
    });
    this.#storage = createServer((request, response) => {
      this.#serve(request, response, 'storage');
    });
    for (const server of [this.#hub, this.#storage]) {
      server.on('connection', (socket) => {
        this.#sockets.add(socket);
        socket.on('close', () => this.#sockets.delete(socket));
      });
    }
  }

  async start(): Promise<void> {
    for (const server of [this.#hub, this.#storage]) {
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy();
    for (const server of [this.#hub, this.#storage]) {
      await new Promise((resolve) => server.close(resolve));
    }
  }

  get endpoint(): string {
    return originOf(this.#hub);
  }

  /** Under another name of this machine: clients follow a hub's redirections to itself differently. */
  get storage(): string {
    return originOf(this.#storage).replace('127.0.0.1', 'localhost');
  }

  /** Adds or replaces a repository; returns its commit. */
  add(name: string, repository: HubRepository): string {
    const commit = randomBytes(20).toString('hex');
    this.#repositories.set(name, { ...repository, commit });
    return commit;
  }

  /** Requests for the content of a path. */
  contentRequests(path: string): SeenRequest[] {
    return this.requests
      .filter((r) => r.origin === 'storage' || !r.path.startsWith('/api/'))
      .filter((r) => r.path.endsWith(`/${path}`));
  }

  reset(): void {
    this.requests.length = 0;
    this.faults.clear();
    this.listing = undefined;
    this.pageSize = 1000;
  }

  #serve(request: IncomingMessage, response: ServerResponse, origin: 'hub' | 'storage'): void {
    const url = new URL(request.url ?? '/', 'http://localhost');
    const { authorization, range } = request.headers;
    this.requests.push({ path: decodeURIComponent(url.pathname), range, authorization, origin });
    const path = decodeURIComponent(url.pathname);
    const [, api, repo, rest] = /^(\/api\/models)?\/([^/]+\/[^/]+)(?:\/(.*))?$/.exec(path) ?? [];
    const repository = repo === undefined ? undefined : this.#repositories.get(repo);
    if (repository === undefined) {
      refuse(response, 401, 'RepoNotFound');
      return;
    }
    if (origin === 'storage') {
      this.#content(request, response, repository, rest ?? '');
      return;
    }
    const isReader = authorization === `Bearer ${repository.token ?? ''}`;
    if (authorization !== undefined && repository.token === undefined) {
      // A token that nobody needs is fine.
    } else if (repository.token !== undefined && !isReader) {
      const code = repository.gated ? 'GatedRepo' : 'RepoNotFound';
      if (!(repository.gated && api)) {
        refuse(response, authorization ? 403 : 401, code);
        return;
      }
    }
    if (api) this.#answer(url, response, repository, repo!, rest ?? '');
    else this.#resolve(request, response, repository, repo!, rest ?? '');
  }

  #answer(url: URL, response: ServerResponse, stored: Stored, repo: string, rest: string): void {
    const [kind, ...parts] = rest.split('/');
    const revision = parts.join('/');
    if (!this.#knows(stored, revision)) {
      refuse(response, 404, 'RevisionNotFound');
      return;
    }
    if (kind === 'revision') {
      sendJson(response, { _id: '1', id: repo, sha: stored.commit, siblings: [] });
      return;
    }
    const all = Object.entries(stored.files).map(([path, content]) =>
      entryOf(stored, path, content),
    );
    const entries = this.listing ? this.listing(all) : all;
    if (!Array.isArray(entries)) {
      sendJson(response, entries);
      return;
    }
    const start = Number(url.searchParams.get('cursor') ?? 0);
    const end = start + this.pageSize;
    if (end < entries.length) {
      url.searchParams.set('cursor', String(end));
      response.setHeader('link', `<${this.endpoint}${url.pathname}${url.search}>; rel="next"`);
    }
    sendJson(response, entries.slice(start, end));
  }

  #resolve(
    request: IncomingMessage,
    response: ServerResponse,
    stored: Stored,
    repo: string,
    rest: string,
  ): void {
    const [, revision = '', path = ''] = /^resolve\/([^/]+)\/(.*)$/.exec(rest) ?? [];
    if (!this.#knows(stored, revision)) {
      refuse(response, 404, 'RevisionNotFound');
      return;
    }
    const content = stored.files[path];
    if (content === undefined) {
      refuse(response, 404, 'EntryNotFound');
      return;
    }
    const { lfs, oid, size } = entryOf(stored, path, content);
    response.setHeader('x-repo-commit', stored.commit);
    if (lfs === undefined) {
      response.setHeader('etag', `"${oid}"`);
      this.#content(request, response, stored, path);
      return;
    }
    response.setHeader('x-linked-etag', `"${lfs.oid}"`);
    response.setHeader('x-linked-size', String(size));
    response.writeHead(302, { location: `${this.storage}/${repo}/${path}` }).end();
  }

  #content(request: IncomingMessage, response: ServerResponse, stored: Stored, path: string): void {
    const fault = this.faults.get(path)?.shift();
    if (fault && 'status' in fault) {
      response.writeHead(fault.status, fault.headers).end();
      return;
    }
    const content = fault && 'body' in fault ? fault.body : Buffer.from(stored.files[path] ?? '');
    const start = Number(/^bytes=(\d+)-/.exec(request.headers.range ?? '')?.[1] ?? 0);
    const ranged = start > 0 && !(fault && 'ignoreRange' in fault);
    const body = ranged ? content.subarray(start) : content;
    response.writeHead(ranged ? 206 : 200, {
      'content-length': body.length,
      ...(ranged && {
        'content-range': `bytes ${start}-${content.length - 1}/${content.length}`,
      }),
    });
    if (request.method === 'HEAD') response.end();
    else if (fault && 'stall' in fault) response.write(body.subarray(0, 1), fault.stall);
    else if (fault && 'cutAfter' in fault) {
      response.write(body.subarray(0, fault.cutAfter), () => response.socket?.destroy());
    } else response.end(body);
  }

  #knows({ commit, revisions = [] }: Stored, revision: string): boolean {
    return ['main', commit, ...revisions].includes(revision);
  }
}

function entryOf(stored: Stored, path: string, content: Uint8Array | string) {
  const bytes = Buffer.from(content);
  const large = stored.largeFiles?.includes(path) ?? /\.(safetensors|bin)$/.test(path);
  const oid = createHash('sha1').update(`blob ${bytes.length}\0`).update(bytes).digest('hex');
  const sha256 = createHash('sha256').update(bytes).digest('hex');
  return {
    type: 'file',
    path,
    size: bytes.length,
    // In git, a large file is a pointer.
    oid: large ? createHash('sha1').update(sha256).digest('hex') : oid,
    ...(large && { lfs: { oid: sha256, size: bytes.length, pointerSize: 134 } }),
  };
}

function originOf(server: Server): string {
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function refuse(response: ServerResponse, status: number, code: string): void {
  response.writeHead(status, { 'x-error-code': code, 'content-type': 'application/json' });
  response.end(JSON.stringify({ error: code }));
}

function sendJson(response: ServerResponse, value: unknown): void {
  response.setHeader('content-type', 'application/json');
  response.end(JSON.stringify(value));
}
