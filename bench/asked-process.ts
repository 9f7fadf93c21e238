/** A program in a process of its own that answers one request after another, and its side of it. */
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import path from 'node:path';
import { pathToFileURL } from 'node:url';

const TSX = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href;

/** Arguments of Node that make it run TypeScript. */
export const TYPESCRIPT_ARGUMENTS: readonly string[] = ['--import', TSX];

/** The program has no such feature, or took more memory than there is. */
export class Impossible extends Error {}

type Answer =
  | { readonly result: unknown }
  /** It cannot be done (`impossible`), or failed. */
  | { readonly error: string; readonly impossible: boolean };

export interface AskedProcessOptions {
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

export class AskedProcess implements AsyncDisposable {
  readonly #process: ChildProcess;
  readonly #exit: Promise<never>;

  /** @param program path of a file that calls answerRequests() */
  constructor(program: string, { args = [], env = process.env }: AskedProcessOptions = {}) {
    this.#process = fork(program, args, {
      env,
      execArgv: [...TYPESCRIPT_ARGUMENTS],
      // Standard output is the benchmark's own.
      stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
    });
    this.#exit = once(this.#process, 'exit').then(([status, signal]) => {
      const message = `its process ended with ${String(signal ?? status)}`;
      if (signal === 'SIGKILL') throw new Impossible(`${message}: it took too much memory`);
      throw new Error(`${path.basename(program)}: ${message}`);
    });
    this.#exit.catch(() => undefined);
  }

  /** One request at a time. */
  async ask(request: object): Promise<unknown> {
    if (!this.#process.connected) return this.#exit;
    const reply = once(this.#process, 'message') as Promise<[Answer]>;
    this.#process.send(request);
    const [answer] = await Promise.race([reply, this.#exit]);
    if ('result' in answer) return answer.result;
    throw answer.impossible ? new Impossible(answer.error) : new Error(answer.error);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const ended = this.#exit.catch(() => undefined);
    if (this.#process.connected) this.#process.disconnect();
    await ended;
  }
}

/** In the program: answers the parent's requests one by one, until it hangs up. */
export function answerRequests(perform: (request: unknown) => Promise<unknown>): void {
  const answer = async (request: unknown): Promise<Answer> => {
    try {
      // What is undefined would not arrive.
      return { result: (await perform(request)) ?? null };
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      return { error: message, impossible: error instanceof Impossible };
    }
  };
  process.on('message', (request) => {
    void answer(request).then((reply) => process.send?.(reply));
  });
}
