/** The later steps of an exported decoder: tokens in, logits out, all memory made beforehand. */
import { Tensor, type InferenceSession } from 'onnxruntime-node';
import { OnnxCache, repeatRows } from './onnx-cache.ts';

/** What the encoder and the decoder's first step left for the steps that follow. */
export interface FirstStep {
  /** [rows, 1, vocab] */
  readonly logits: Float32Array;
  /** By what stands behind "present.": of self-attention, and of cross-attention. */
  readonly self: ReadonlyMap<string, Tensor>;
  readonly cross: ReadonlyMap<string, Tensor>;
  /** int64 [rows, source tokens] */
  readonly sourceMask: Tensor;
}

export class OnnxDecoder {
  readonly rows: number;
  readonly #session: InferenceSession;
  readonly #cache: OnnxCache;
  readonly #constant: Readonly<Record<string, Tensor>>;
  readonly #logits: Tensor;
  readonly #tokens: BigInt64Array;

  /** @param copies of each source's row: as many as it has beams */
  constructor(session: InferenceSession, first: FirstStep, copies: number, mostTokens: number) {
    this.#session = session;
    this.#cache = new OnnxCache(first.self, copies, mostTokens);
    this.rows = this.#cache.rows;
    const vocabSize = first.logits.length / (this.rows / copies);
    this.#logits = new Tensor('float32', new Float32Array(this.rows * vocabSize), [
      this.rows,
      1,
      vocabSize,
    ]);
    this.#tokens = new BigInt64Array(this.rows);
    const mask = repeatMask(first.sourceMask, copies);
    const constant = {
      input_ids: new Tensor('int64', this.#tokens, [this.rows, 1]),
      encoder_attention_mask: mask,
      ...withPrefix('past_key_values.', repeatTensors(first.cross, copies)),
    };
    // A graph has only the inputs that it uses.
    this.#constant = Object.fromEntries(
      Object.entries(constant).filter(([name]) => session.inputNames.includes(name)),
    );
  }

  /** Feeds one token to each row; [rows, 1, vocab], overwritten by the next step. */
  async step(tokenIds: readonly number[]): Promise<Float32Array> {
    tokenIds.forEach((tokenId, row) => (this.#tokens[row] = BigInt(tokenId)));
    const feeds = { ...this.#constant, ...withPrefix('past_key_values.', this.#cache.past()) };
    const fetches = { logits: this.#logits, ...withPrefix('present.', this.#cache.present()) };
    await this.#session.run(feeds, fetches);
    this.#cache.advance();
    return this.#logits.data as Float32Array;
  }

  reorder(parents: readonly number[]): void {
    this.#cache.reorder(parents);
  }
}

function withPrefix(prefix: string, tensors: ReadonlyMap<string, Tensor>): Record<string, Tensor> {
  return Object.fromEntries([...tensors].map(([name, tensor]) => [prefix + name, tensor]));
}

function repeatTensors(
  tensors: ReadonlyMap<string, Tensor>,
  copies: number,
): ReadonlyMap<string, Tensor> {
  if (copies === 1) return tensors;
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const [rows = 0, ...dims] = tensor.dims;
      const values = tensor.data as Float32Array;
      const repeated = new Float32Array(values.length * copies);
      repeatRows(values, rows, copies, repeated);
      return [name, new Tensor('float32', repeated, [rows * copies, ...dims])];
    }),
  );
}

function repeatMask(mask: Tensor, copies: number): Tensor {
  if (copies === 1) return mask;
  const [rows = 0, tokens = 0] = mask.dims;
  const ones = new BigInt64Array(rows * copies * tokens).fill(1n);
  return new Tensor('int64', ones, [rows * copies, tokens]);
}
