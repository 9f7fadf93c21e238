/** One training example: token ids of the source and of the target, both with their end token. */
export interface Example {
  readonly inputIds: Int32Array;
  readonly labels: Int32Array;
}

/**
 * A ragged batch: row `i` of `inputIds` (source tokens) belongs to row `i` of `labels`
 * (target tokens). Rows have their own lengths and carry no padding.
 */
export interface Batch {
  readonly inputIds: Int32Array[];
  readonly labels: Int32Array[];
}

/**
 * What a trainer iterates. Every method is a pure function of its arguments, so training that
 * stopped after batch `k` of an epoch continues exactly with `batches(epoch, k)`.
 */
export interface Dataset {
  /** Number of examples. */
  readonly length: number;
  /** Number of batches in epoch `epoch` (0-based). */
  batchCount(epoch: number): number;
  /** The batches of epoch `epoch` (0-based) in training order, from batch `start` (default 0). */
  batches(epoch: number, start?: number): Iterable<Batch>;
}
