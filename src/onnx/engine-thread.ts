/** The thread in which graphs run, seen from the one that asks: its requests and their ends. */
import type { Worker } from 'node:worker_threads';
import { restoreError, WgqaError } from '../errors.ts';
import type { FinishedRequest } from '../decode/request-reader.ts';
import { startWorker } from '../worker.ts';
import type { FromThread, ThreadRequest, ThreadSettings, ToThread } from './protocol.ts';

type TokenMessage = Extract<FromThread, { kind: 'token' }>;

interface Pending {
  readonly onToken: (message: TokenMessage) => void;
  readonly resolve: (result: FinishedRequest) => void;
  readonly reject: (error: unknown) => void;
}

export class EngineThread {
  /** Resolves when the graphs are loaded. */
  readonly ready: Promise<void>;
  readonly #worker: Worker;
  readonly #pending = new Map<number, Pending>();
  readonly #exited: Promise<void>;
  #nextId = 1;
  /** Why the thread has ended, once it has. */
  #end: WgqaError | undefined;

  constructor(settings: ThreadSettings) {
    this.#worker = startWorker(import.meta.url, 'worker', settings);
    let end: (cause?: unknown) => void = () => undefined;
    this.ready = new Promise((resolve, reject) => {
      this.#worker.on('message', (message: FromThread) => {
        if (message.kind === 'ready') resolve();
        else if (message.kind === 'refused') reject(restoreError(message.error));
        else this.#dispatch(message);
      });
      end = (cause) => {
        const error = new WgqaError('INTERNAL', 'the thread of the engine has ended', { cause });
        this.#end ??= error;
        reject(error);
        for (const pending of this.#pending.values()) pending.reject(error);
        this.#pending.clear();
      };
    });
    this.#worker.on('error', end);
    this.#exited = new Promise((resolve) => {
      this.#worker.on('exit', () => {
        end();
        resolve();
      });
    });
    // Nobody may be waiting when it fails.
    this.ready.catch(() => undefined);
  }

  /** Runs a request; settles when the thread is done with it. */
  async run(
    request: Omit<ThreadRequest, 'id'>,
    onToken: (message: TokenMessage) => void,
  ): Promise<FinishedRequest> {
    if (this.#end !== undefined) throw this.#end;
    const id = this.#nextId++;
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { onToken, resolve, reject });
      this.#post({ kind: 'request', request: { ...request, id } });
    });
  }

  /** Frees the graphs once the requests before are done. */
  async close(): Promise<void> {
    this.#post({ kind: 'close' });
    await this.#exited;
  }

  #post(message: ToThread): void {
    this.#worker.postMessage(message);
  }

  #dispatch(message: Exclude<FromThread, { kind: 'ready' | 'refused' }>): void {
    const pending = this.#pending.get(message.id);
    if (message.kind === 'token') {
      pending?.onToken(message);
      return;
    }
    this.#pending.delete(message.id);
    if (message.kind === 'finished') pending?.resolve(message.result);
    else pending?.reject(restoreError(message.error));
  }
}
