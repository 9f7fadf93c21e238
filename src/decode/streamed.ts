import { onAbort } from '../model/index.ts';
import { ChunkQueue } from './chunk-queue.ts';

/** What a stream is made of. */
export interface StreamSource<T> {
  /** Chunks that may wait to be read. */
  readonly buffer: number;
  /** The caller's. */
  readonly signal: AbortSignal | undefined;
  /** Puts chunks into the queue until it is done or its signal is aborted. */
  readonly work: (chunks: ChunkQueue<T>, signal: AbortSignal) => Promise<unknown>;
}

/** Starts the work and yields its chunks; leaving the loop aborts the work, as the caller's signal does. */
export async function* streamed<T>(source: StreamSource<T>): AsyncGenerator<T, void, undefined> {
  const { buffer, signal, work } = source;
  const chunks = new ChunkQueue<T>(buffer);
  const left = new AbortController();
  const leave = (): void => {
    left.abort(signal?.reason);
  };
  if (signal?.aborted) leave();
  const forget = onAbort(signal, leave);
  work(chunks, left.signal).then(
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
    forget();
    left.abort();
  }
}
