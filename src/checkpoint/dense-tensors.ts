/**
 * Tensors that lie in a file as views with strides (a transposed weight of a PyTorch file), written in
 * row-major order into a temporary file, so that native code can map them like all others.
 */
import { mkdtemp, open, rm, type FileHandle } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { WgqaError } from '../errors.ts';
import { writeError } from './io-errors.ts';
import { readExactly, withRegularFile } from './regular-file.ts';
import type { TensorEntry } from './safetensors.ts';

/** What is gathered at once, in some 20 ms. */
const PIECE_BYTES = 1 << 20;

/** Owns the temporary file; dispose of it when the tensors are mapped or copied. */
export class DenseTensors implements AsyncDisposable {
  readonly #done = new Map<string, TensorEntry>();
  #directory: string | undefined;
  #bytes = 0;

  /** `tensor` itself, or a dense copy of it. @throws WgqaError IO, NO_SPACE, INVALID_FILE */
  async of(tensor: TensorEntry): Promise<TensorEntry> {
    const { strides, ...plain } = tensor;
    if (strides === undefined) return tensor;
    const identity = JSON.stringify([plain.file, plain.offset, plain.shape, strides, plain.dtype]);
    const done = this.#done.get(identity);
    if (done !== undefined) return { ...done, name: tensor.name };
    const dense = await this.#write(plain, strides);
    this.#done.set(identity, dense);
    return dense;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#directory !== undefined) await rm(this.#directory, { recursive: true, force: true });
  }

  async #write(tensor: TensorEntry, strides: readonly number[]): Promise<TensorEntry> {
    return withRegularFile(tensor.file, async (source, size) => {
      // Views of the same bytes again and again would multiply the file.
      if (this.#bytes + tensor.bytes > 2 * size) {
        const message = `${tensor.file} holds too many views that are not dense`;
        throw new WgqaError('INVALID_FILE', message, { field: tensor.name });
      }
      try {
        this.#directory ??= await mkdtemp(path.join(tmpdir(), 'wgqa-dense-'));
        const file = path.join(this.#directory, 'tensors');
        const target = await open(file, 'a');
        try {
          const offset = this.#bytes;
          await copyDense(source, target, tensor, strides);
          this.#bytes += tensor.bytes;
          return { ...tensor, file, offset };
        } finally {
          await target.close();
        }
      } catch (error) {
        throw writeError(error, tmpdir());
      }
    });
  }
}

/** Reads the span of each index of the first dimensions that fits into a piece, and gathers from it. */
async function copyDense(
  source: FileHandle,
  target: FileHandle,
  tensor: TensorEntry,
  strides: readonly number[],
): Promise<void> {
  const { shape, bytes, file } = tensor;
  const count = shape.reduce((product, size) => product * size, 1);
  const elementBytes = bytes / count;
  const last = shape.reduce((sum, size, i) => sum + (size - 1) * strides[i]!, 0);
  const span = await readExactly(source, tensor.offset, (last + 1) * elementBytes, file);
  const pieceElements = PIECE_BYTES / elementBytes;
  for (let done = 0; done < count; done += pieceElements) {
    const elements = Math.min(pieceElements, count - done);
    const piece = Buffer.allocUnsafe(elements * elementBytes);
    for (let i = 0; i < elements; ++i) {
      const from = elementAt(done + i, shape, strides) * elementBytes;
      span.copy(piece, i * elementBytes, from, from + elementBytes);
    }
    await target.writeFile(piece);
  }
}

/** Where element `index` of a row-major tensor lies. */
function elementAt(index: number, shape: readonly number[], strides: readonly number[]): number {
  let [rest, position] = [index, 0];
  for (let i = shape.length - 1; i >= 0; --i) {
    position += (rest % shape[i]!) * strides[i]!;
    rest = Math.floor(rest / shape[i]!);
  }
  return position;
}
