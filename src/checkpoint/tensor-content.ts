/** Reading the bytes of tensors in files, piece by piece. */
import { throwIfAborted } from '../abort.ts';
import type { TensorEntry } from './safetensors.ts';
import { readExactly, withRegularFile } from './regular-file.ts';

const PIECE_BYTES = 1 << 22;

/**
 * Whether two dense tensors have the same type, shape and bytes; reads up to the first difference.
 * @throws WgqaError INVALID_FILE, IO, ABORTED
 */
export async function haveSameContent(
  a: TensorEntry,
  b: TensorEntry,
  signal?: AbortSignal,
): Promise<boolean> {
  if (a.dtype !== b.dtype || a.bytes !== b.bytes || String(a.shape) !== String(b.shape))
    return false;
  if (a.file === b.file && a.offset === b.offset) return true;
  return withRegularFile(a.file, (left) =>
    withRegularFile(b.file, async (right) => {
      for (let done = 0; done < a.bytes; done += PIECE_BYTES) {
        throwIfAborted(signal);
        const length = Math.min(PIECE_BYTES, a.bytes - done);
        const [first, second] = await Promise.all([
          readExactly(left, a.offset + done, length, a.file),
          readExactly(right, b.offset + done, length, b.file),
        ]);
        if (!first.equals(second)) return false;
      }
      return true;
    }),
  );
}
