/** A training batch cut into micro-batches of whole rows. */
import type { ModelConfig } from '../checkpoint/config.ts';
import { invalidArgument } from '../errors.ts';
import { IGNORED_LABEL, prepareBatch, toNativeBatch, type BatchRow } from '../model/index.ts';
import type { NativeBatch } from '../native.ts';
import { isRecord } from '../options.ts';
import type { TrainingBatch } from './types.ts';

/**
 * Checks a batch and cuts it into at most `count` micro-batches of nearly equal numbers of rows.
 * @throws WgqaError INVALID_ARGUMENT naming the row and column
 */
export function toMicroBatches(
  batch: TrainingBatch,
  count: number,
  config: ModelConfig,
): NativeBatch[] {
  const rows = toRows(batch, config);
  const parts = Math.min(count, rows.length);
  return Array.from({ length: parts }, (_, i) => {
    const bound = (part: number): number => Math.round((part * rows.length) / parts);
    return toNativeBatch(rows.slice(bound(i), bound(i + 1)));
  });
}

/**
 * The rows of a batch that has labels, checked.
 * @throws WgqaError INVALID_ARGUMENT naming the row and column
 */
export function toRows(batch: TrainingBatch, config: ModelConfig): BatchRow[] {
  if (!isRecord(batch)) throw invalidArgument('batch', 'an object', batch);
  if (!('labels' in batch)) throw invalidArgument('labels', 'rows of token ids', undefined);
  return prepareBatch(batch, config).rows.map(withoutIgnoredTail);
}

/** The decoder is causal: behind its last counted label, a row cannot change the loss. */
function withoutIgnoredTail(row: BatchRow): BatchRow {
  const { labels } = row;
  if (labels === undefined) return row;
  const last = labels.findLastIndex((label) => label !== IGNORED_LABEL);
  const length = Math.max(1, last + 1);
  return { ...row, decoder: row.decoder.subarray(0, length), labels: labels.subarray(0, length) };
}
