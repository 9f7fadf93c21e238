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
import { isInsideProcessor } from './processor-scope.ts';
import type { DecodeTask } from './request-reader.ts';
import { alternativesAt } from './result.ts';
import { withSpecialTokens } from './special-pieces.ts';
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
  /** Texts that native code knows the pieces of: with special tokens, and without. */
  readonly #taught = new Set<boolean>();

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
    // Before anything is submitted: a signal may be none and throw.
    const forget = onAbort(signal, () => {
      if (signal !== undefined) job.fail(abortError(signal));
    });
    try {
      this.#submit(id, job, task);
      return await job.finished;
    } finally {
      forget();
    }
  }

  /** Whether the caller is a logits processor of one of the requests. */
  get isInsideProcessor(): boolean {
    return isInsideProcessor(this.#native);
  }

  stats(): NativeEngineStats {
    return this.#native.stats();
  }

  /** Rejects what is unfinished with DISPOSED. */
  async close(): Promise<void> {
    await callNative(() => this.#native.close());
  }

  #submit(id: number, job: Job, { stops, tokenizer, skipSpecialTokens }: DecodeTask): void {
    try {
      if (stops.length > 0) this.#teachPieces(tokenizer, !skipSpecialTokens);
      this.#native.submit(id, job.toNative());
    } catch (error) {
      throw fromNative(error);
    }
    this.#jobs.set(id, job);
  }

  #teachPieces(tokenizer: Tokenizer | undefined, keepsSpecialTokens: boolean): void {
    if (tokenizer === undefined || this.#taught.has(keepsSpecialTokens)) return;
    const plain = tokenizer.tokenPieces();
    const { bytes, offsets, stripsFirstSpace } = keepsSpecialTokens
      ? withSpecialTokens(plain, tokenizer)
      : plain;
    this.#native.setTokenPieces(bytes, offsets, stripsFirstSpace, keepsSpecialTokens);
    this.#taught.add(keepsSpecialTokens);
  }

  #dispatch({ tokens, logits, finished }: NativeEngineEvents): void {
    this.#dispatchTokens(tokens);
    for (const event of logits) this.#jobs.get(event.request)?.onLogits(event);
    for (const event of finished) {
      this.#jobs.get(event.request)?.onFinish(event);
      this.#jobs.delete(event.request);
    }
  }

  #dispatchTokens(tokens: NativeEngineEvents['tokens']): void {
    const { requests, sequences, tokenIds, logProbs, alternativeCounts } = tokens;
    let first = 0;
    for (let i = 0; i < requests.length; ++i) {
      const job = this.#jobs.get(requests[i] ?? 0);
      const count = alternativeCounts[i] ?? 0;
      const alternatives = alternativesAt(tokens.topTokenIds, tokens.topLogProbs, first, count);
      first += count;
      job?.onToken(sequences[i] ?? 0, tokenIds[i] ?? 0, logProbs[i] ?? 0, alternatives);
    }
  }
}
