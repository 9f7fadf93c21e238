/** Requests that wait while the decoder is busy, and are then decoded together. */
import { setMaxListeners } from 'node:events';
import { WgqaError } from '../errors.ts';
import { abortError } from '../model/index.ts';
import { callNative, type NativeDecoder } from '../native.ts';
import type { Job } from './job.ts';
import type { GeneratedSequence, GenerationResult } from './types.ts';

export interface WaveLimits {
  /** Sequences decoded together. */
  readonly maxBatchSize: number;
  /** Source tokens of the requests decoded together. */
  readonly maxBatchTokens: number;
}

interface Waiting {
  readonly job: Job;
  readonly submitted: number;
  readonly resolve: (result: GenerationResult) => void;
  readonly reject: (error: unknown) => void;
}

export class RequestQueue {
  readonly #decoder: NativeDecoder;
  readonly #limits: WaveLimits;
  #waiting: Waiting[] = [];
  #pump: Promise<void> | undefined;
  #running = 0;
  #completed = 0;

  constructor(decoder: NativeDecoder, limits: WaveLimits) {
    this.#decoder = decoder;
    this.#limits = limits;
  }

  get counts() {
    return { queued: this.#waiting.length, running: this.#running, completed: this.#completed };
  }

  async submit(job: Job): Promise<GenerationResult> {
    const { signal } = job.request;
    return new Promise<GenerationResult>((resolve, reject) => {
      if (signal?.aborted) {
        reject(abortError(signal));
        return;
      }
      const waiting = { job, submitted: performance.now(), resolve, reject };
      const abort = (): void => {
        job.abort();
        if (signal && this.#remove(waiting)) reject(abortError(signal));
      };
      // One signal for many requests is usual, and no leak that Node should warn of.
      if (signal instanceof EventTarget) setMaxListeners(0, signal);
      signal?.addEventListener('abort', abort, { once: true });
      const settled = <T>(settle: (value: T) => void) => {
        return (value: T): void => {
          signal?.removeEventListener('abort', abort);
          settle(value);
        };
      };
      this.#waiting.push(waiting);
      Object.assign(waiting, { resolve: settled(resolve), reject: settled(reject) });
      this.#pump ??= this.#decodeAll();
    });
  }

  /** Rejects what waits, and waits for what runs. */
  async close(): Promise<void> {
    const waiting = this.#waiting;
    this.#waiting = [];
    for (const { reject } of waiting) {
      reject(new WgqaError('DISPOSED', 'the engine was closed before the request was decoded'));
    }
    await this.#pump;
  }

  #remove(waiting: Waiting): boolean {
    const index = this.#waiting.indexOf(waiting);
    if (index >= 0) this.#waiting.splice(index, 1);
    return index >= 0;
  }

  async #decodeAll(): Promise<void> {
    // Requests of the same turn of the event loop belong together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#waiting.length > 0) await this.#decodeWave(this.#takeWave());
    this.#pump = undefined;
  }

  /** The longest run of waiting requests within the limits, but at least one. */
  #takeWave(): Waiting[] {
    const { maxBatchSize, maxBatchTokens } = this.#limits;
    let rows = 0;
    let tokens = 0;
    const end = this.#waiting.findIndex(({ job }, i) => {
      rows += job.rows;
      tokens += job.request.inputIds.length;
      return i > 0 && (rows > maxBatchSize || tokens > maxBatchTokens);
    });
    return this.#waiting.splice(0, end < 0 ? this.#waiting.length : end);
  }

  async #decodeWave(wave: readonly Waiting[]): Promise<void> {
    this.#running = wave.length;
    const started = performance.now();
    try {
      const requests = wave.map(({ job }) => job.toNative());
      const results = await callNative(() => this.#decoder.run(requests));
      const decodeMilliseconds = performance.now() - started;
      for (const [i, waiting] of wave.entries()) {
        const result = results[i];
        if (result === undefined) throw new WgqaError('INTERNAL', 'a request has no result');
        settle(waiting, () => {
          const sequences = waiting.job.toSequences(result);
          return toResult(waiting, sequences, started - waiting.submitted, decodeMilliseconds);
        });
      }
    } catch (error) {
      for (const { reject } of wave) reject(error);
    } finally {
      this.#running = 0;
      this.#completed += wave.length;
    }
  }
}

function settle({ resolve, reject }: Waiting, work: () => GenerationResult): void {
  try {
    resolve(work());
  } catch (error) {
    reject(error);
  }
}

function toResult(
  { job }: Waiting,
  sequences: GeneratedSequence[],
  queueMilliseconds: number,
  decodeMilliseconds: number,
): GenerationResult {
  const promptTokens = job.request.inputIds.length;
  const generatedTokens = sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length, 0);
  return { sequences, promptTokens, generatedTokens, queueMilliseconds, decodeMilliseconds };
}
