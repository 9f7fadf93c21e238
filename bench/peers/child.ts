/** The parent's side: a contender in a process of its own. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import type {
  Answer,
  Decoded,
  DecodingOptions,
  Encoded,
  Loaded,
  LoadOptions,
  Request,
} from './protocol.ts';

const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

/** The contender said that it has no such feature, or took more memory than there is. */
export class Impossible extends Error {}

export class Child implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #exit: Promise<never>;

  /** @param program a file of this folder that calls serve() */
  constructor(program: string) {
    this.#process = fork(path.join(import.meta.dirname, program), {
      execArgv: ['--import', TSX],
      // Standard output is the benchmark's own.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#exit = once(this.#process, 'exit').then(([status, signal]) => {
      const message = `its process ended with ${String(signal ?? status)}`;
      if (signal === 'SIGKILL') throw new Impossible(`${message}: it took too much memory`);
      throw new Error(`${program}: ${message}`);
    });
    this.#exit.catch(() => undefined);
  }

  async load(options: LoadOptions): Promise<Loaded> {
    return (await this.#ask({ call: 'load', options })) as Loaded;
  }

  async encode(sources: readonly (readonly number[])[]): Promise<Encoded> {
    return (await this.#ask({ call: 'encode', sources })) as Encoded;
  }

  async decode(decoding: DecodingOptions): Promise<Decoded> {
    return (await this.#ask({ call: 'decode', decoding })) as Decoded;
  }

  async release(): Promise<void> {
    await this.#ask({ call: 'release' });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#exit.catch(() => undefined);
    if (this.#process.connected) this.#process.disconnect();
    await ended;
  }

  async #ask(request: Request): Promise<unknown> {
    if (!this.#process.connected) return this.#exit;
    const reply = once(this.#process, 'message') as Promise<[Answer]>;
    this.#process.send(request);
    const [answer] = await Promise.race([reply, this.#exit]);
    if ('result' in answer) return answer.result;
    throw answer.impossible ? new Impossible(answer.error) : new Error(answer.error);
  }
}
