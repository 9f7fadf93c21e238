/** The identity of tokenised text. */
import { createHash } from 'node:crypto';
import type { Example } from './dataset.ts';

/** SHA-256 of all token ids, in order. */
export function hashExamples(examples: readonly Example[]): string {
  const hash = createHash('sha256');
  for (const { inputIds, labels } of examples) {
    hash.update(Int32Array.of(inputIds.length, labels.length));
    hash.update(inputIds);
    hash.update(labels);
  }
  return hash.digest('hex');
}
