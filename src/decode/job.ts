/** One request in the native engine, from its submission to its end. */
import type {
  NativeEngine,
  NativeFinishEvent,
  NativeGenerationRequest,
  NativeLogitsEvent,
} from '../native.ts';
import { fromNative } from '../native.ts';
import type { ChunkQueue } from './chunk-queue.ts';
import { invalidArgument } from '../errors.ts';
import { insideProcessor, isPromise } from './processor-scope.ts';
import type { DecodeTask } from './request-reader.ts';
import { SequenceChunks } from './sequence-chunks.ts';
import type { LogitsContext, TokenAlternative, TokenChunk } from './types.ts';

/** The native engine as far as it concerns one request. */
export type RequestControls = Pick<NativeEngine, 'abort' | 'setPaused' | 'answerLogits'>;

export class Job {
  /** Resolves with a result that has sequences; rejects with what the request failed with. */
  readonly finished: Promise<NativeFinishEvent>;
  readonly #id: number;
  readonly #task: DecodeTask;
  readonly #native: RequestControls;
  readonly #chunks: ChunkQueue<TokenChunk> | undefined;
  readonly #sequences = new Map<number, SequenceChunks>();
  #failure: { readonly error: unknown } | undefined;
  #resolve!: (event: NativeFinishEvent) => void;
  #reject!: (error: unknown) => void;

  /** `chunks`: where tokens go, if the request is streamed. */
  constructor(
    id: number,
    task: DecodeTask,
    native: RequestControls,
    chunks: ChunkQueue<TokenChunk> | undefined,
  ) {
    this.#id = id;
    this.#task = task;
    this.#native = native;
    this.#chunks = chunks;
    this.finished = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
    if (chunks) {
      chunks.onFull = (isFull) => {
        native.setPaused(id, isFull);
      };
    }
  }

  toNative(): NativeGenerationRequest {
    const { source, forcedPrefix, options, stops, timeout, processors } = this.#task;
    return {
      inputIds: source.inputIds,
      forcedPrefix,
      options,
      stop: stops,
      keepsSpecialTokens: !this.#task.skipSpecialTokens,
      timeoutMilliseconds: timeout,
      reportTokens: this.#chunks !== undefined,
      processesLogits: processors.length > 0,
    };
  }

  /** Ends the request with `error`, once native code has let go of it. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#native.abort(this.#id);
  }

  onToken(
    sequence: number,
    tokenId: number,
    logProb: number,
    alternatives: TokenAlternative[],
  ): void {
    if (this.#failure !== undefined) return;
    try {
      let chunks = this.#sequences.get(sequence);
      if (chunks === undefined) {
        chunks = new SequenceChunks(sequence, this.#task);
        this.#sequences.set(sequence, chunks);
      }
      this.#push(chunks.push(tokenId, logProb, alternatives));
    } catch (error) {
      this.fail(error);
    }
  }

  onLogits(event: NativeLogitsEvent): void {
    this.#processLogits(event).then(
      () => {
        this.#native.answerLogits(this.#id, event.logits);
      },
      (error: unknown) => {
        this.fail(error);
      },
    );
  }

  onFinish(event: NativeFinishEvent): void {
    if (this.#failure !== undefined) {
      this.#reject(this.#failure.error);
    } else if (event.error !== undefined) {
      this.#reject(fromNative(event.error));
    } else {
      this.#end(event);
    }
  }

  #end(event: NativeFinishEvent): void {
    try {
      for (const chunks of this.#sequences.values()) this.#push(chunks.end());
      this.#resolve(event);
    } catch (error) {
      this.#reject(error);
    }
  }

  async #processLogits({ histories, logits }: NativeLogitsEvent): Promise<void> {
    const vocab = logits.length / histories.length;
    for (const [row, tokenIds] of histories.entries()) {
      const context = { tokenIds, logits: logits.subarray(row * vocab, (row + 1) * vocab), row };
      for (const process of this.#task.processors) {
        const returned = insideProcessor(this.#native, process, () => process(context));
        takeLogits(context, isPromise(returned) ? await returned : returned);
      }
    }
  }

  #push(chunks: readonly TokenChunk[]): void {
    for (const chunk of chunks) this.#chunks?.push(chunk);
  }
}

/** What a processor returns, as those of Hugging Face do, takes the place of the logits. */
function takeLogits({ logits }: LogitsContext, returned: unknown): void {
  if (returned === undefined || returned === logits) return;
  const isRow =
    (returned instanceof Float32Array || returned instanceof Float64Array || isNumbers(returned)) &&
    returned.length === logits.length;
  if (isRow) {
    logits.set(returned);
    return;
  }
  const allowed = `functions that return nothing, or ${logits.length} logits`;
  throw invalidArgument('logitsProcessors', allowed, returned);
}

function isNumbers(value: unknown): value is readonly number[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'number');
}
