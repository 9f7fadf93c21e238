/** T5's buckets of relative positions, as a table by distance that a graph looks up. */

export interface Bucketing {
  readonly buckets: number;
  readonly maxDistance: number;
  /** Keys behind the query have buckets of their own; else they share that of distance 0. */
  readonly bidirectional: boolean;
}

/**
 * The buckets of relative positions (key - query) from -maxDistance to maxDistance; beyond, they
 * are those of the ends. Formula: `_relative_position_bucket` of Hugging Face's T5.
 */
export function bucketTable(bucketing: Bucketing): Int32Array {
  const { maxDistance } = bucketing;
  return Int32Array.from({ length: 2 * maxDistance + 1 }, (_, i) =>
    bucketOf(i - maxDistance, bucketing),
  );
}

function bucketOf(relativePosition: number, bucketing: Bucketing): number {
  const { maxDistance, bidirectional } = bucketing;
  const buckets = bidirectional ? bucketing.buckets / 2 : bucketing.buckets;
  const base = bidirectional && relativePosition > 0 ? buckets : 0;
  const distance = bidirectional ? Math.abs(relativePosition) : Math.max(-relativePosition, 0);
  const exact = buckets / 2;
  if (distance < exact) return base + distance;
  // float32 throughout, so that distances on a bucket's edge fall as they do in the public T5 code.
  const { fround } = Math;
  const numerator = fround(Math.log(fround(distance / exact)));
  const denominator = fround(Math.log(maxDistance / exact));
  const scaled = fround(fround(numerator / denominator) * (buckets - exact));
  return base + Math.min(exact + Math.trunc(scaled), buckets - 1);
}
