/** Generation with exported graphs in ONNX Runtime, behind the interface of the native engine. */
import { toResult } from '../decode/result.ts';
import type { ChunkQueue } from '../decode/chunk-queue.ts';
import { checkRequest, closeMode, type CheckedRequest } from '../decode/options.ts';
import { checkStreamable, type DecodeTask, type RequestReader } from '../decode/request-reader.ts';
import { SequenceChunks } from '../decode/sequence-chunks.ts';
import { streamed } from '../decode/streamed.ts';
import type {
  CloseOptions,
  GenerationRequest,
  GenerationResult,
  TokenChunk,
} from '../decode/types.ts';
import { WgqaError } from '../errors.ts';
import { abortError, throwIfAborted } from '../model/index.ts';
import { checkOptions, signalRule } from '../options.ts';
import { onSignal, unlessAbandoned } from './abandon.ts';
import type { EngineThread } from './engine-thread.ts';
import { checkForGraphs } from './request-check.ts';

interface Abortable {
  readonly signal?: AbortSignal;
}

type OnToken = Parameters<EngineThread['run']>[1];

/** Made by {@link loadOnnx}. Requests are decoded one after the other, in a thread of their own. */
export class OnnxEngine implements AsyncDisposable {
  readonly #thread: EngineThread;
  readonly #reader: RequestReader;
  readonly #unfinished = new Set<Promise<unknown>>();
  readonly #closing = new AbortController();
  #isClosed = false;
  #disposal: Promise<void> | undefined;

  constructor(thread: EngineThread, reader: RequestReader) {
    this.#thread = thread;
    this.#reader = reader;
  }

  /**
   * Decodes one request: greedy, by beam search or sampling, with the options of `Engine`. An abort
   * rejects at once; the thread goes on to the next request when its running step is done.
   * @throws WgqaError INVALID_ARGUMENT, UNSUPPORTED for logits processors, NON_FINITE, ABORTED,
   *   TIMEOUT, DISPOSED, INVALID_FILE
   */
  async generate(request: GenerationRequest, options: Abortable = {}): Promise<GenerationResult> {
    const { signal } = checkOptions(options, { signal: signalRule });
    const checked = checkRequest(request);
    return this.#track(async () => {
      const task = await this.#readTask(checked);
      return toResult(task, await this.#run(task, signal, undefined));
    });
  }

  /**
   * Decodes one request without beams and yields each token when it is there; leaving the loop
   * aborts it. @throws WgqaError as generate()
   */
  async *stream(
    request: GenerationRequest,
    options: Abortable = {},
  ): AsyncGenerator<TokenChunk, void, undefined> {
    const { signal } = checkOptions(options, { signal: signalRule });
    const checked = checkRequest(request);
    yield* streamed<TokenChunk>({
      buffer: Infinity,
      signal,
      work: (chunks, left) => this.#decodeInto(chunks, checked, left),
    });
  }

  /** Takes no more requests, finishes or aborts those it has, and frees the graphs. */
  async close(options: CloseOptions = {}): Promise<void> {
    const mode = closeMode(options);
    this.#isClosed = true;
    if (mode === 'abort') this.#closing.abort();
    this.#disposal ??= this.#release();
    await this.#disposal;
  }

  /** Aborts what is unfinished: `close({ mode: 'abort' })`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close({ mode: 'abort' });
  }

  async #release(): Promise<void> {
    await Promise.allSettled(this.#unfinished);
    await this.#thread.close();
  }

  async #readTask(request: CheckedRequest): Promise<DecodeTask> {
    const task = await this.#reader.read(request);
    checkForGraphs(task);
    return task;
  }

  async #decodeInto(
    chunks: ChunkQueue<TokenChunk>,
    request: CheckedRequest,
    signal: AbortSignal,
  ): Promise<void> {
    await this.#track(async () => {
      const task = await this.#readTask(request);
      checkStreamable(task);
      const sequences = Array.from(
        { length: task.options.numReturnSequences },
        (_, index) => new SequenceChunks(index, task),
      );
      const push = (some: readonly TokenChunk[] = []): void => {
        for (const chunk of some) chunks.push(chunk);
      };
      await this.#run(task, signal, ({ sequence, tokenId, logProb }) => {
        push(sequences[sequence]?.push(tokenId, logProb));
      });
      for (const sequence of sequences) push(sequence.end());
    });
  }

  /** Runs a request's whole work, counted while it is unfinished. */
  async #track<T>(work: () => Promise<T>): Promise<T> {
    if (this.#isClosed) throw closedError();
    const running = work();
    this.#unfinished.add(running);
    try {
      return await running;
    } finally {
      this.#unfinished.delete(running);
    }
  }

  async #run(task: DecodeTask, signal: AbortSignal | undefined, onToken: OnToken | undefined) {
    throwIfAborted(signal);
    const abandoned = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
    const { options, timeout, stops, tokenizer } = task;
    const submitted = Date.now();
    const running = this.#thread.run(
      {
        inputIds: task.inputIds,
        prompt: [options.decoderStartTokenId, ...task.forcedPrefix],
        options,
        stops,
        pieces: stops.length > 0 ? tokenizer?.tokenPieces() : undefined,
        reportTokens: onToken !== undefined,
        submitted,
        deadline: timeout > 0 ? submitted + timeout : Infinity,
        abandoned,
      },
      (message) => {
        if (Atomics.load(abandoned, 0) === 0) onToken?.(message);
      },
    );
    const abandon = (): void => {
      Atomics.store(abandoned, 0, 1);
    };
    const reasons = [
      ...onSignal(signal, abortError),
      { signal: this.#closing.signal, toError: closedError },
    ];
    return unlessAbandoned(running, reasons, abandon);
  }
}

function closedError(): WgqaError {
  return new WgqaError('DISPOSED', 'the engine was closed');
}
