/** Keys and values of the decoder's self-attention, in memory that is allocated once. */
import { Tensor } from 'onnxruntime-node';

/**
 * Two buffers for each tensor: a step reads one and writes the other, which is a token longer. The
 * graph joins old and new rows itself; nothing is copied outside of it unless beams change places.
 */
export class OnnxCache {
  readonly #names: readonly string[];
  readonly #heads: number;
  readonly #headDim: number;
  readonly #buffers: readonly [Map<string, Float32Array>, Map<string, Float32Array>];
  #current: 0 | 1 = 0;
  #tokens: number;
  readonly rows: number;

  /** @param first [rows, heads, tokens, headDim] of each name: the cache after the first step */
  constructor(first: ReadonlyMap<string, Tensor>, copies: number, mostTokens: number) {
    this.#names = [...first.keys()];
    const [rows = 0, heads = 0, tokens = 0, headDim = 0] = first.values().next().value?.dims ?? [];
    this.rows = rows * copies;
    this.#heads = heads;
    this.#headDim = headDim;
    this.#tokens = tokens;
    const allocate = (): Map<string, Float32Array> =>
      new Map(
        this.#names.map((name) => [
          name,
          new Float32Array(this.rows * heads * mostTokens * headDim),
        ]),
      );
    this.#buffers = [allocate(), allocate()];
    for (const [name, tensor] of first) {
      repeatRows(tensor.data as Float32Array, rows, copies, this.#buffers[0].get(name)!);
    }
  }

  /** What the next step reads. */
  past(): Map<string, Tensor> {
    return this.#views(this.#current, this.#tokens);
  }

  /** What the next step writes. */
  present(): Map<string, Tensor> {
    return this.#views(other(this.#current), this.#tokens + 1);
  }

  /** After a step: what it wrote is the past of the next one. */
  advance(): void {
    this.#current = other(this.#current);
    this.#tokens += 1;
  }

  /** Row i goes on from what was row `parents[i]`. */
  reorder(parents: readonly number[]): void {
    if (parents.every((parent, row) => parent === row)) return;
    const size = this.#heads * this.#tokens * this.#headDim;
    const target = other(this.#current);
    for (const name of this.#names) {
      const from = this.#buffers[this.#current].get(name)!;
      const to = this.#buffers[target].get(name)!;
      parents.forEach((parent, row) => {
        to.set(from.subarray(parent * size, (parent + 1) * size), row * size);
      });
    }
    this.#current = target;
  }

  #views(side: 0 | 1, tokens: number): Map<string, Tensor> {
    const dims = [this.rows, this.#heads, tokens, this.#headDim];
    const count = dims.reduce((product, size) => product * size, 1);
    return new Map(
      [...this.#buffers[side]].map(([name, buffer]) => [
        name,
        new Tensor('float32', buffer.subarray(0, count), dims),
      ]),
    );
  }
}

function other(side: 0 | 1): 0 | 1 {
  return side === 0 ? 1 : 0;
}

/** Each of `rows` rows `copies` times, one after another. */
export function repeatRows(
  from: Float32Array,
  rows: number,
  copies: number,
  to: Float32Array,
): void {
  const size = from.length / rows;
  for (let row = 0; row < rows * copies; ++row) {
    const source = Math.floor(row / copies) * size;
    to.set(from.subarray(source, source + size), row * size);
  }
}
