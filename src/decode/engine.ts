/** Decoding requests with one model, many at a time, over a paged cache of grouped K/V heads. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { readGenerationConfig } from '../checkpoint/checkpoint.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { implementationOf, readTokenRow, type Model, type T5Model } from '../model/index.ts';
import { callNative, fromNative, native, type NativeDecoder } from '../native.ts';
import { checkOptions, signalRule } from '../options.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/index.ts';
import { ChunkQueue } from './chunk-queue.ts';
import { Job } from './job.ts';
import {
  checkRequest,
  parseGenerationDefaults,
  resolveEngineOptions,
  resolveRequest,
  type CheckedRequest,
  type GenerationDefaults,
} from './options.ts';
import { RequestQueue } from './queue.ts';
import type {
  EngineOptions,
  EngineStats,
  GenerationRequest,
  GenerationResult,
  TokenChunk,
} from './types.ts';

interface Abortable {
  readonly signal?: AbortSignal;
}

export class Engine implements AsyncDisposable {
  readonly model: Model;
  readonly #model: T5Model;
  readonly #native: NativeDecoder;
  readonly #queue: RequestQueue;
  readonly #forget: () => void;
  #tokenizer: Promise<Tokenizer | undefined> | undefined;
  #defaults: Promise<GenerationDefaults> | undefined;
  #disposal: Promise<void> | undefined;

  /** @throws WgqaError INVALID_ARGUMENT, DISPOSED */
  constructor(model: Model, options: EngineOptions = {}) {
    const implementation = implementationOf(model);
    const {
      native: nativeOptions,
      maxBatchTokens,
      tokenizer,
    } = resolveEngineOptions(options, model.dtype);
    this.model = model;
    this.#model = implementation;
    this.#native = createNative(implementation, nativeOptions);
    const { maxBatchSize } = nativeOptions;
    this.#queue = new RequestQueue(this.#native, { maxBatchSize, maxBatchTokens });
    if (tokenizer !== undefined) this.#tokenizer = Promise.resolve(tokenizer);
    this.#forget = implementation.addDependent(() => this.close());
  }

  /**
   * Decodes one request, together with others that wait. The result does not depend on them.
   * @throws WgqaError INVALID_ARGUMENT, OUT_OF_MEMORY, ABORTED, DISPOSED
   */
  async generate(request: GenerationRequest, options: Abortable = {}): Promise<GenerationResult> {
    const { signal } = checkOptions(options, { signal: signalRule });
    return this.#submit(checkRequest(request), signal);
  }

  /**
   * Decodes one request without beams and yields each token when it is there. Leaving the loop
   * aborts the request.
   * @throws WgqaError INVALID_ARGUMENT, OUT_OF_MEMORY, ABORTED, DISPOSED
   */
  async *stream(
    request: GenerationRequest,
    options: Abortable = {},
  ): AsyncGenerator<TokenChunk, void, undefined> {
    const { signal } = checkOptions(options, { signal: signalRule });
    const checked = checkRequest(request);
    const chunks = new ChunkQueue<TokenChunk>();
    const left = new AbortController();
    const either = signal ? AbortSignal.any([signal, left.signal]) : left.signal;
    const push = (chunk: TokenChunk): void => {
      chunks.push(chunk);
    };
    this.#submit(checked, either, push).then(
      () => {
        chunks.end();
      },
      (error: unknown) => {
        chunks.fail(error);
      },
    );
    try {
      yield* chunks;
    } finally {
      left.abort();
    }
  }

  /** What the engine holds and has done. @throws WgqaError DISPOSED */
  stats(): EngineStats {
    this.#assertUsable();
    const { decodeSeconds, encodeSeconds, ...stats } = this.#native.stats();
    return {
      ...this.#queue.counts,
      ...stats,
      encodeMilliseconds: 1000 * encodeSeconds,
      decodeMilliseconds: 1000 * decodeSeconds,
    };
  }

  /** Rejects waiting requests, lets running ones finish and frees the cache; the model stays. */
  async close(): Promise<void> {
    this.#disposal ??= this.#release();
    await this.#disposal;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #release(): Promise<void> {
    this.#forget();
    await this.#queue.close();
    await callNative(() => this.#native.dispose());
  }

  #assertUsable(): void {
    this.#model.assertUsable();
    if (this.#disposal !== undefined) throw new WgqaError('DISPOSED', 'the engine was closed');
  }

  async #submit(
    request: CheckedRequest,
    signal: AbortSignal | undefined,
    onChunk?: (chunk: TokenChunk) => void,
  ): Promise<GenerationResult> {
    this.#assertUsable();
    const [tokenizer, defaults] = await Promise.all([this.#getTokenizer(), this.#getDefaults()]);
    this.#assertUsable();
    const options = resolveRequest(request, defaults, this.model.config);
    if (onChunk && (options.numBeams > 1 || options.numReturnSequences > 1)) {
      const field = options.numBeams > 1 ? 'numBeams' : 'numReturnSequences';
      throw invalidArgument(field, '1 for a stream', options[field]);
    }
    const stops = request.stop === undefined ? [] : [request.stop].flat();
    if (stops.length > 0 && tokenizer === undefined) throw needsTokenizer('stop');
    const inputIds = sourceOf(request, tokenizer, this.model.config.vocab_size);
    return this.#queue.submit(new Job({ inputIds, options, stops, tokenizer, signal, onChunk }));
  }

  #getTokenizer(): Promise<Tokenizer | undefined> {
    this.#tokenizer ??= findTokenizer(this.model.directory);
    return this.#tokenizer;
  }

  #getDefaults(): Promise<GenerationDefaults> {
    this.#defaults ??= findDefaults(this.model);
    return this.#defaults;
  }
}

function createNative(
  model: T5Model,
  options: Parameters<ReturnType<typeof native>['createDecoder']>[1],
): NativeDecoder {
  try {
    return native().createDecoder(model.native, options);
  } catch (error) {
    throw fromNative(error);
  }
}

/** The tokenizer of the model's directory, if it has one. */
async function findTokenizer(directory: string | undefined): Promise<Tokenizer | undefined> {
  if (directory === undefined) return undefined;
  const present = await access(path.join(directory, 'tokenizer.json')).then(
    () => true,
    () => false,
  );
  return present ? loadTokenizer(directory) : undefined;
}

async function findDefaults({ config, directory }: Model): Promise<GenerationDefaults> {
  const json = directory === undefined ? undefined : await readGenerationConfig(directory);
  if (json !== undefined) return parseGenerationDefaults(json, 'generation_config.json');
  return parseGenerationDefaults(config, 'config.json');
}

function sourceOf(
  { prompt, inputIds }: CheckedRequest,
  tokenizer: Tokenizer | undefined,
  vocab: number,
): Int32Array {
  if ((prompt === undefined) === (inputIds === undefined)) {
    throw invalidArgument('prompt', 'given, or inputIds, but not both', prompt);
  }
  if (prompt === undefined) return readTokenRow(inputIds, 'inputIds', vocab);
  if (tokenizer === undefined) throw needsTokenizer('prompt');
  return readTokenRow(tokenizer.encode(prompt), 'prompt', vocab);
}

function needsTokenizer(field: string): WgqaError {
  const allowed = 'absent: the engine has no tokenizer, and neither has the directory of its model';
  return new WgqaError('INVALID_ARGUMENT', `${field} must be ${allowed}`, { field, allowed });
}
