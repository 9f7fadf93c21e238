/** What the machine can do, measured beside what is compared with it. */
import { callNative, native, type ComputeDtype, type NativeProduct } from '../native.ts';

export type Product = Readonly<NativeProduct>;

const REPETITIONS = 2;

function settings(threads: number) {
  return { threads, repetitions: REPETITIONS };
}

/** Bytes per second of reading so many bytes: through the caches that hold them, or from memory. */
export async function readRate(bytes: number, threads = 0): Promise<number> {
  return bytes / (await callNative(() => native().measureRead(bytes, settings(threads))));
}

/** Seconds of oneDNN for all `products`, with nothing else in the time. */
export async function productSeconds(
  products: readonly Product[],
  dtype: ComputeDtype,
  threads = 0,
): Promise<number> {
  return callNative(() => native().measureProducts(products, dtype, settings(threads)));
}

/** Operations of all products, two for each multiplication and addition. */
export function flopsOf(products: readonly Product[]): number {
  return products.reduce(
    (sum, { batch, rows, depth, columns, count }) =>
      sum + 2 * batch * rows * depth * columns * count,
    0,
  );
}

/** The product whose rate stands for oneDNN's own: large enough to reach it, small enough to cache. */
const SQUARE: readonly Product[] = [{ batch: 1, rows: 512, depth: 2048, columns: 512, count: 8 }];

/** Operations per second of oneDNN at its best. */
export async function productRate(dtype: ComputeDtype, threads = 0): Promise<number> {
  return flopsOf(SQUARE) / (await productSeconds(SQUARE, dtype, threads));
}
