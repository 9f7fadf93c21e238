/** Decoding requests with one model, many at a time, over a paged cache of grouped K/V heads. */
import { WgqaError } from '../errors.ts';
import { abortError, implementationOf, type Model, type T5Model } from '../model/index.ts';
import { checkOptions, signalRule } from '../options.ts';
import { onSignal, unlessAbandoned } from './abandon.ts';
import { NativeRequests, type Submission } from './native-requests.ts';
import { closeMode, resolveEngineOptions } from './options.ts';
import { checkRequest, type CheckedRequest } from './request-options.ts';
import { RequestReader, type DecodeTask } from './request-reader.ts';
import { toResult, toStats } from './result.ts';
import { checkNoHoles } from './source.ts';
import { streamed } from './streamed.ts';
import type {
  CloseOptions,
  EngineOptions,
  EngineStats,
  GenerationRequest,
  GenerationResult,
  TokenChunk,
  TokenStream,
} from './types.ts';

interface Abortable {
  readonly signal?: AbortSignal;
}

export class Engine implements AsyncDisposable {
  readonly model: Model;
  readonly #model: T5Model;
  readonly #requests: NativeRequests;
  readonly #reader: RequestReader;
  readonly #streamBuffer: number;
  readonly #maxRequests: number;
  readonly #unfinished = new Set<Promise<unknown>>();
  readonly #forget: () => void;
  /** No more requests. */
  #isClosed = false;
  /** The native engine is stopping, or has stopped. */
  #stopping: Promise<void> | undefined;
  #disposal: Promise<void> | undefined;

  /**
   * Starts the engine's thread; the cache takes memory as requests need it.
   * @throws WgqaError INVALID_ARGUMENT, DISPOSED
   */
  constructor(model: Model, options: EngineOptions = {}) {
    const implementation = implementationOf(model);
    const { native, limits, streamBuffer, tokenizer } = resolveEngineOptions(options, model);
    this.model = model;
    this.#model = implementation;
    this.#requests = new NativeRequests(implementation, native);
    this.#reader = new RequestReader(model, limits, tokenizer);
    this.#streamBuffer = streamBuffer;
    this.#maxRequests = limits.requests;
    this.#forget = implementation.addDependent(() => this.close({ mode: 'abort' }));
  }

  /**
   * Decodes one request beside all others. The result does not depend on them.
   * @throws WgqaError INVALID_ARGUMENT, OUT_OF_MEMORY, NON_FINITE, ABORTED, TIMEOUT, OVERLOADED,
   *   DISPOSED; and what a logits processor throws, as it is
   */
  async generate(request: GenerationRequest, options: Abortable = {}): Promise<GenerationResult> {
    const { signal } = checkOptions(options, { signal: signalRule });
    const checked = checkRequest(request);
    return this.#track(async () => {
      const task = await this.#reading(this.#reader.read(checked), signal);
      return this.#decode(task, { signal });
    });
  }

  /**
   * Decodes one request without beams and yields each token when it is there; samples are
   * interleaved. A reader that is slow holds up its own request only; leaving the loop aborts it,
   * and so does dropping the stream, once it is collected. The generator returns the whole result,
   * which is also the stream's `result`.
   * @throws WgqaError as generate(), with the first chunk
   */
  stream(request: GenerationRequest, options: Abortable = {}): TokenStream {
    return streamed<TokenChunk, GenerationResult>(() => {
      const { signal } = checkOptions(options, { signal: signalRule });
      const checked = checkRequest(request);
      return {
        buffer: this.#streamBuffer,
        signal,
        work: (chunks, left) => this.#decodeInto(checked, { signal: left, chunks }),
      };
    });
  }

  /** What the engine holds and has done. @throws WgqaError DISPOSED */
  stats(): EngineStats {
    this.#model.assertUsable();
    if (this.#stopping !== undefined) throw closedError();
    return toStats(this.#requests.stats());
  }

  /**
   * Takes no more requests, finishes or aborts those it has, and frees the cache; the model stays.
   * A drain that takes too long can be followed by an abort.
   * @throws WgqaError INVALID_ARGUMENT for a drain by a logits processor, which would wait for itself
   */
  async close(options: CloseOptions = {}): Promise<void> {
    const mode = closeMode(options);
    if (mode === 'drain' && this.#requests.isInsideProcessor) throw reentryError();
    this.#isClosed = true;
    if (mode === 'abort') this.#stop().catch(() => undefined);
    this.#disposal ??= this.#release();
    await this.#disposal;
  }

  /** Aborts what is unfinished: `close({ mode: 'abort' })`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ mode: 'abort' });
  }

  async #release(): Promise<void> {
    await Promise.allSettled(this.#unfinished);
    await this.#stop();
    this.#forget();
  }

  async #stop(): Promise<void> {
    this.#stopping ??= this.#requests.close();
    await this.#stopping;
  }

  /** Runs a request's whole work, counted while it is unfinished. */
  async #track<T>(work: () => Promise<T>): Promise<T> {
    this.#model.assertUsable();
    if (this.#isClosed) throw closedError();
    if (this.#unfinished.size >= this.#maxRequests) throw overloadedError(this.#maxRequests);
    const running = work();
    this.#unfinished.add(running);
    try {
      return await running;
    } finally {
      this.#unfinished.delete(running);
    }
  }

  async #decodeInto(request: CheckedRequest, submission: Submission): Promise<GenerationResult> {
    return this.#track(async () => {
      const task = await this.#reading(this.#reader.readForStream(request), submission.signal);
      return this.#decode(task, submission);
    });
  }

  /** Reading may take its time: the caller need not wait for it. */
  async #reading(task: Promise<DecodeTask>, signal: AbortSignal | undefined): Promise<DecodeTask> {
    return unlessAbandoned(task, onSignal(signal, abortError), () => undefined);
  }

  async #decode(task: DecodeTask, submission: Submission): Promise<GenerationResult> {
    // Reading the request took its time.
    if (this.#stopping !== undefined) throw closedError();
    checkNoHoles(task.source);
    return toResult(task, await this.#requests.run(task, submission));
  }
}

function closedError(): WgqaError {
  return new WgqaError('DISPOSED', 'the engine was closed');
}

function reentryError(): WgqaError {
  const allowed = "'abort', or a call that no logits processor waits for";
  const message =
    'close() by a logits processor would wait for the request of that processor; ' +
    `mode must be ${allowed}`;
  return new WgqaError('INVALID_ARGUMENT', message, { field: 'mode', allowed });
}

function overloadedError(limit: number): WgqaError {
  const message = `the engine has ${String(limit)} unfinished requests already; try again later`;
  const allowed = `at most ${String(limit)} unfinished requests`;
  return new WgqaError('OVERLOADED', message, { field: 'limits.requests', allowed });
}
