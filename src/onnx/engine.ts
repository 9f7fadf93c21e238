/** Generation with exported graphs in ONNX Runtime, behind the interface of the native engine. */
import { onSignal, unlessAbandoned } from '../decode/abandon.ts';
import type { ChunkQueue } from '../decode/chunk-queue.ts';
import { closeMode } from '../decode/options.ts';
import { checkRequest, type CheckedRequest } from '../decode/request-options.ts';
import type { DecodeTask, RequestReader } from '../decode/request-reader.ts';
import { toResult } from '../decode/result.ts';
import { SequenceChunks } from '../decode/sequence-chunks.ts';
import { withSpecialTokens } from '../decode/special-pieces.ts';
import { streamed } from '../decode/streamed.ts';
import type {
  CloseOptions,
  GenerationRequest,
  GenerationResult,
  TokenChunk,
  TokenStream,
} from '../decode/types.ts';
import { WgqaError } from '../errors.ts';
import { abortError, throwIfAborted } from '../model/index.ts';
import { checkOptions, signalRule } from '../options.ts';
import type { TokenPieces, Tokenizer } from '../tokenizer/index.ts';
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
      const task = await this.#reading(this.#reader.read(checked), signal);
      return toResult(task, await this.#run(task, signal, undefined));
    });
  }

  /**
   * Decodes one request without beams and yields each token when it is there; leaving the loop
   * aborts it. The generator returns the whole result, which is also the stream's `result`.
   * @throws WgqaError as generate(), with the first chunk
   */
  stream(request: GenerationRequest, options: Abortable = {}): TokenStream {
    return streamed<TokenChunk, GenerationResult>(() => {
      const { signal } = checkOptions(options, { signal: signalRule });
      const checked = checkRequest(request);
      return {
        buffer: Infinity,
        signal,
        work: (chunks, left) => this.#decodeInto(chunks, checked, left),
      };
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

  /** Reading may take its time: the caller need not wait for it. */
  async #reading(
    reading: Promise<DecodeTask>,
    signal: AbortSignal | undefined,
  ): Promise<DecodeTask> {
    const task = await unlessAbandoned(reading, onSignal(signal, abortError), () => undefined);
    checkForGraphs(task);
    return task;
  }

  async #decodeInto(
    chunks: ChunkQueue<TokenChunk>,
    request: CheckedRequest,
    signal: AbortSignal,
  ): Promise<GenerationResult> {
    return this.#track(async () => {
      const task = await this.#reading(this.#reader.readForStream(request), signal);
      const sequences = Array.from(
        { length: task.options.numReturnSequences },
        (_, index) => new SequenceChunks(index, task),
      );
      const push = (some: readonly TokenChunk[] = []): void => {
        for (const chunk of some) chunks.push(chunk);
      };
      const finished = await this.#run(task, signal, (token) => {
        const { sequence, tokenId, logProb, alternatives } = token;
        push(sequences[sequence]?.push(tokenId, logProb, alternatives));
      });
      for (const sequence of sequences) push(sequence.end());
      return toResult(task, finished);
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
        inputIds: task.source.inputIds,
        mask: task.source.mask ?? new Int32Array(task.source.inputIds.length).fill(1),
        prompt: [options.decoderStartTokenId, ...task.forcedPrefix],
        options,
        stops,
        pieces: tokenizer && stops.length > 0 ? piecesOf(tokenizer, task) : undefined,
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

function piecesOf(tokenizer: Tokenizer, { skipSpecialTokens }: DecodeTask): TokenPieces {
  const plain = tokenizer.tokenPieces();
  return skipSpecialTokens ? plain : withSpecialTokens(plain, tokenizer);
}

function closedError(): WgqaError {
  return new WgqaError('DISPOSED', 'the engine was closed');
}
