/** The native engine with the requests that it decodes: its events go to the jobs they are about. */
import { abortError, onAbort, throwIfAborted, type T5Model } from '../model/index.ts';
import {
  callNative,
  fromNative,
  native,
  type NativeEngine,
  type NativeEngineEvents,
  type NativeEngineOptions,
  type NativeEngineStats,
  type NativeFinishEvent,
} from '../native.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import type { ChunkQueue } from './chunk-queue.ts';
import { Job } from './job.ts';
import type { DecodeTask } from './request-reader.ts';
import type { TokenChunk } from './types.ts';

export interface Submission {
  readonly signal: AbortSignal | undefined;
  /** Where tokens go, if the request is streamed. */
  readonly chunks?: ChunkQueue<TokenChunk>;
}

export class NativeRequests {
  readonly #native: NativeEngine;
  readonly #jobs = new Map<number, Job>();
  #nextId = 1;
  #hasPieces = false;

  /** @throws WgqaError INVALID_ARGUMENT, DISPOSED */
  constructor(model: T5Model, options: NativeEngineOptions) {
    try {
      this.#native = native().createEngine(model.native, options, (events) => {
        this.#dispatch(events);
      });
    } catch (error) {
      throw fromNative(error);
    }
  }

  /** Decodes a request; settles once native code has let go of it. */
  async run(task: DecodeTask, { signal, chunks }: Submission): Promise<NativeFinishEvent> {
    throwIfAborted(signal);
    const id = this.#nextId++;
    const job = new Job(id, task, this.#native, chunks);
    this.#submit(id, job, task);
    const forget = onAbort(signal, () => {
      if (signal !== undefined) job.fail(abortError(signal));
    });
    try {
      return await job.finished;
    } finally {
      forget();
    }
  }

  stats(): NativeEngineStats {
    return this.#native.stats();
  }

  /** Rejects what is unfinished with DISPOSED. */
  async close(): Promise<void> {
    await callNative(() => this.#native.close());
  }

  #submit(id: number, job: Job, { stops, tokenizer }: DecodeTask): void {
    try {
      if (stops.length > 0) this.#teachPieces(tokenizer);
      this.#native.submit(id, job.toNative());
    } catch (error) {
      throw fromNative(error);
    }
    this.#jobs.set(id, job);
  }

  #teachPieces(tokenizer: Tokenizer | undefined): void {
    if (this.#hasPieces || tokenizer === undefined) return;
    const { bytes, offsets, stripsFirstSpace } = tokenizer.tokenPieces();
    this.#native.setTokenPieces(bytes, offsets, stripsFirstSpace);
    this.#hasPieces = true;
  }

  #dispatch({ tokens, logits, finished }: NativeEngineEvents): void {
    const { requests, sequences, tokenIds, logProbs } = tokens;
    for (let i = 0; i < requests.length; ++i) {
      const job = this.#jobs.get(requests[i] ?? 0);
      job?.onToken(sequences[i] ?? 0, tokenIds[i] ?? 0, logProbs[i] ?? 0);
    }
    for (const event of logits) this.#jobs.get(event.request)?.onLogits(event);
    for (const event of finished) {
      this.#jobs.get(event.request)?.onFinish(event);
      this.#jobs.delete(event.request);
    }
  }
}
