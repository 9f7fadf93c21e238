/** Work whose results are read while it goes on. */
import { onAbort } from '../model/index.ts';
import { ChunkQueue } from './chunk-queue.ts';

/** What a stream is made of. */
export interface StreamSource<T, R> {
  /** Chunks that may wait to be read. */
  readonly buffer: number;
  /** The caller's. */
  readonly signal: AbortSignal | undefined;
  /** Puts chunks into the queue until it is done or its signal is aborted. */
  readonly work: (chunks: ChunkQueue<T>, signal: AbortSignal) => Promise<R>;
}

/** Chunks in a loop; what the work ended with is returned by the generator, and as `result`. */
export interface ResultStream<T, R> extends AsyncGenerator<T, R, undefined> {
  readonly result: Promise<R>;
}

interface Outcome<R> {
  readonly resolve: (result: R) => void;
  readonly reject: (error: unknown) => void;
}

/** Streams that nobody holds any more: their work is given up. */
const dropped = new FinalizationRegistry<AbortController>((left) => {
  left.abort();
});

/**
 * `begin` is called, and the work starts, when the first chunk is asked for. Leaving the loop aborts
 * the work, as the caller's signal does, and as dropping the stream does in the end.
 */
export function streamed<T, R>(begin: () => StreamSource<T, R>): ResultStream<T, R> {
  const left = new AbortController();
  let outcome!: Outcome<R>;
  const result = new Promise<R>((resolve, reject) => {
    outcome = { resolve, reject };
  });
  // Who reads the chunks learns of failures there.
  result.catch(() => undefined);
  const stream = Object.assign(read(begin, left, outcome), { result });
  dropped.register(stream, left);
  return stream;
}

async function* read<T, R>(
  begin: () => StreamSource<T, R>,
  left: AbortController,
  outcome: Outcome<R>,
): AsyncGenerator<T, R, undefined> {
  try {
    const { buffer, signal, work } = begin();
    const chunks = new ChunkQueue<T>(buffer);
    const leave = (): void => {
      left.abort(signal?.reason);
    };
    if (signal?.aborted) leave();
    const forget = onAbort(signal, leave);
    const working = work(chunks, left.signal);
    working.then(
      (result) => {
        outcome.resolve(result);
        chunks.end();
      },
      (error: unknown) => {
        outcome.reject(error);
        chunks.fail(error);
      },
    );
    try {
      yield* chunks;
      return await working;
    } finally {
      left.abort();
      forget();
    }
  } catch (error) {
    outcome.reject(error);
    throw error;
  }
}
