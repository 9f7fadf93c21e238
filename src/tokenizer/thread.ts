/** The thread in which texts are encoded, seen from those that ask: one for all tokenizers. */
import { MessageChannel, receiveMessageOnPort, type Worker } from 'node:worker_threads';
import { restoreError, WgqaError } from '../errors.ts';
import { startWorker } from '../worker.ts';
import type { FromThread, Request, Results, ToThread } from './protocol.ts';

interface Pending {
  readonly resolve: (result: never) => void;
  readonly reject: (error: unknown) => void;
}

/** How long one who waits for an answer without letting others run waits for it. */
const LONGEST_WAIT_MILLISECONDS = 5 * 60_000;

type RequestOf<K extends keyof Results> = Extract<Request, { kind: K }>;

export class TokenizerThread {
  static #current: TokenizerThread | undefined;

  readonly #worker: Worker;
  readonly #port;
  readonly #pending = new Map<number, Pending>();
  /** Frees a tokenizer once nobody holds it. */
  readonly #owners = new FinalizationRegistry<number>((handle) => {
    this.#release(handle);
  });
  #owned = 0;
  #nextId = 1;
  /** Why the thread has ended, once it has. */
  #end: WgqaError | undefined;

  /** The thread, started if there is none. */
  static get(): TokenizerThread {
    const current = TokenizerThread.#current;
    if (current !== undefined && current.#end === undefined) return current;
    return (TokenizerThread.#current = new TokenizerThread());
  }

  private constructor() {
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    this.#worker = startWorker(import.meta.url, 'worker', { port: port2 }, [port2]);
    this.#port.on('message', (message: FromThread) => {
      this.#settle(message);
    });
    let cause: unknown;
    this.#worker.on('error', (error) => (cause = error));
    this.#worker.on('exit', () => {
      this.#fail(cause);
    });
    // An idle thread does not keep the process alive.
    this.#worker.unref();
    this.#port.unref();
  }

  async ask<K extends keyof Results>(request: RequestOf<K>): Promise<Results[K]> {
    if (this.#end !== undefined) throw this.#end;
    return new Promise<Results[K]>((resolve, reject) => {
      this.#pending.set(this.#post(request, undefined), { resolve, reject });
      this.#port.ref();
    });
  }

  /** The answer at once: nothing else runs in this thread meanwhile. */
  askNow<K extends keyof Results>(request: RequestOf<K>): Results[K] {
    if (this.#end !== undefined) throw this.#end;
    const answered = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const id = this.#post(request, answered);
    if (Atomics.wait(answered, 0, 0, LONGEST_WAIT_MILLISECONDS) === 'timed-out') {
      throw new WgqaError('INTERNAL', 'the thread of the tokenizers does not answer');
    }
    for (;;) {
      const received = receiveMessageOnPort(this.#port)?.message as FromThread | undefined;
      if (received === undefined) throw new WgqaError('INTERNAL', 'an answer was lost');
      if (received.id !== id) this.#settle(received);
      else if ('error' in received) throw restoreError(received.error);
      else return received.result as Results[K];
    }
  }

  /** Keeps a loaded tokenizer for as long as its owner is in use. */
  keepFor(owner: object, handle: number): void {
    this.#owners.register(owner, handle);
    this.#owned += 1;
  }

  #release(handle: number): void {
    this.#owned -= 1;
    if (this.#end !== undefined) return;
    this.#send({ kind: 'release', handle });
    // A thread that nobody needs ends; the next tokenizer starts another.
    if (this.#owned === 0 && this.#pending.size === 0) this.#fail(undefined);
  }

  #post(request: Request, answered: Int32Array | undefined): number {
    const id = this.#nextId++;
    this.#send({ kind: 'request', id, request, answered });
    return id;
  }

  #send(message: ToThread): void {
    this.#port.postMessage(message);
  }

  #settle(message: FromThread): void {
    const pending = this.#pending.get(message.id);
    this.#pending.delete(message.id);
    if (this.#pending.size === 0) this.#port.unref();
    if ('error' in message) pending?.reject(restoreError(message.error));
    else pending?.resolve(message.result as never);
  }

  #fail(cause: unknown): void {
    this.#end = new WgqaError('INTERNAL', 'the thread of the tokenizers has ended', { cause });
    for (const { reject } of this.#pending.values()) reject(this.#end);
    this.#pending.clear();
    this.#port.close();
  }
}
