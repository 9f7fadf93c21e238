import { getHeapStatistics } from 'node:v8';
import { WgqaError } from '../errors.ts';

/** JavaScript's heap for an example whose two rows lie outside of it, measured with Node 22. */
const HEAP_BYTES_PER_EXAMPLE = 500;
/** Part of the heap that a data set may take. */
const HEAP_SHARE = 0.7;

/** As many examples as fit into this process's heap. */
export function heapCapacity(): number {
  return Math.floor((HEAP_SHARE * getHeapStatistics().heap_size_limit) / HEAP_BYTES_PER_EXAMPLE);
}

/** The error of a file with more pairs than were asked to be read at once. */
export function tooManyPairs(path: string, maxPairs: number): WgqaError {
  return new WgqaError('OUT_OF_MEMORY', `${path} has over ${maxPairs} text pairs`, {
    field: path,
    allowed: `at most ${maxPairs} pairs, by maxPairs or by the heap (node --max-old-space-size)`,
  });
}
