import type { FileHandle } from 'node:fs/promises';
import { readingError } from '../lines.ts';
import { openRegularFile } from '../open-file.ts';
import { malformed } from './problem.ts';

/** A file that is read in pieces; whoever opens it closes it. */
export class RandomAccessFile {
  readonly size: number;
  readonly #path: string;
  readonly #handle: FileHandle;

  private constructor(path: string, handle: FileHandle, size: number) {
    this.#path = path;
    this.#handle = handle;
    this.size = size;
  }

  /** @throws WgqaError `NOT_FOUND`, `IO` */
  static async open(path: string): Promise<RandomAccessFile> {
    try {
      const handle = await openRegularFile(path);
      const { size } = await handle.stat();
      return new RandomAccessFile(path, handle, size);
    } catch (cause) {
      throw readingError(path, 0, cause);
    }
  }

  /**
   * `length` bytes from `position`, in memory of their own.
   *
   * @throws ParquetProblem when the file has not that many, before memory is taken; WgqaError `IO`
   */
  async read(position: number, length: number): Promise<Uint8Array> {
    if (position + length > this.size) throw malformed('the file ends early');
    const bytes = new Uint8Array(length);
    let filled = 0;
    while (filled < length) {
      const bytesRead = await this.#readSome(bytes, filled, position);
      if (bytesRead === 0) throw malformed('the file ends early');
      filled += bytesRead;
    }
    return bytes;
  }

  async #readSome(bytes: Uint8Array, filled: number, position: number): Promise<number> {
    try {
      const rest = bytes.length - filled;
      return (await this.#handle.read(bytes, filled, rest, position + filled)).bytesRead;
    } catch (cause) {
      throw readingError(this.#path, 0, cause);
    }
  }

  close(): Promise<void> {
    return this.#handle.close();
  }
}
