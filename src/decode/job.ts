/** One request on its way: what native code decodes, and what becomes of its result. */
import type { WgqaError } from '../errors.ts';
import { abortError } from '../model/index.ts';
import {
  fromNative,
  native,
  type NativeAbortFlag,
  type NativeDecoder,
  type NativeGeneratedSequence,
  type NativeGenerationOptions,
  type NativeGenerationRequest,
} from '../native.ts';
import type { Tokenizer } from '../tokenizer/index.ts';
import { cutAtStop, SequenceText } from './sequence-text.ts';
import type { GeneratedSequence, TokenChunk } from './types.ts';

export interface JobRequest {
  readonly inputIds: Int32Array;
  readonly options: NativeGenerationOptions;
  readonly stops: readonly string[];
  readonly tokenizer: Tokenizer | undefined;
  readonly signal: AbortSignal | undefined;
  readonly onChunk: ((chunk: TokenChunk) => void) | undefined;
}

type NativeResult = Awaited<ReturnType<NativeDecoder['run']>>[number];

export class Job {
  readonly request: JobRequest;
  readonly #flag: NativeAbortFlag;
  readonly #text: SequenceText | undefined;
  /** Tokens so far, where they are followed one by one. */
  readonly #tokens: number[] = [];
  #stopped = false;

  constructor(request: JobRequest) {
    this.request = request;
    this.#flag = new (native().AbortFlag)();
    const { tokenizer, stops } = request;
    this.#text = tokenizer && new SequenceText(tokenizer, stops);
  }

  /** Sequences that decode at once: beams, or samples. */
  get rows(): number {
    const { numBeams, numReturnSequences } = this.request.options;
    return numBeams > 1 ? numBeams : numReturnSequences;
  }

  abort(): void {
    this.#flag.abort();
  }

  toNative(): NativeGenerationRequest {
    const { inputIds, options } = this.request;
    const request = { inputIds, options, abort: this.#flag };
    if (!this.#followsTokens()) return request;
    return {
      ...request,
      onToken: (tokenId) => {
        this.#onToken(tokenId);
      },
    };
  }

  /** @throws WgqaError what the request failed with */
  toSequences(result: NativeResult): GeneratedSequence[] {
    if ('sequences' in result) return result.sequences.map((sequence) => this.#finish(sequence));
    if (this.#stopped) {
      return [this.#finish({ tokenIds: Int32Array.from(this.#tokens), finishReason: 'stop' })];
    }
    throw this.#toError(result.error);
  }

  #toError(error: unknown): unknown {
    const { signal } = this.request;
    const translated = fromNative(error) as WgqaError;
    return translated.code === 'ABORTED' && signal?.aborted ? abortError(signal) : translated;
  }

  /**
   * Whether tokens are looked at as they come: to be passed on, or to stop at a string. A stopped
   * run returns no log-probabilities; where they are wanted, the sequence is cut afterwards.
   */
  #followsTokens(): boolean {
    const { onChunk, stops, options } = this.request;
    return onChunk !== undefined || (stops.length > 0 && this.rows === 1 && !options.logProbs);
  }

  #onToken(tokenId: number): void {
    if (this.#stopped) return;
    this.#tokens.push(tokenId);
    const { onChunk, options } = this.request;
    const last =
      options.eosTokenIds.includes(tokenId) || this.#tokens.length === options.maxNewTokens;
    const result = this.#text?.push(tokenId, last);
    onChunk?.(result === undefined ? { tokenId } : { tokenId, text: result.text });
    if (result?.stopped) {
      this.#stopped = true;
      this.abort();
    }
  }

  #finish({ tokenIds, score, logProbs, finishReason }: NativeGeneratedSequence): GeneratedSequence {
    const { tokenizer, stops } = this.request;
    const cut = tokenizer && cutAtStop([...tokenIds], tokenizer, stops);
    const length = cut?.length ?? tokenIds.length;
    return {
      tokenIds: [...tokenIds.subarray(0, length)],
      ...(cut && { text: cut.text }),
      ...(score !== undefined && { score }),
      ...(logProbs && { logProbs: [...logProbs.subarray(0, length)] }),
      finishReason: cut?.stopped ? 'stop' : finishReason,
    };
  }
}
