/** What every benchmark of this folder yields, and the statistics they share. */

/** A measured value as a share of its limit; `wanted` bounds the share, from below or from above. */
export interface Measurement {
  readonly name: string;
  readonly value: number;
  readonly limitName: string;
  readonly limit: number;
  /** Unit of `value` and `limit`, e.g. "GB/s". */
  readonly unit: string;
  readonly wanted?: { readonly atLeast: number } | { readonly below: number };
  /** Further figures for the record, by name. */
  readonly details?: Readonly<Record<string, number>>;
}

export interface Benchmark {
  readonly title: string;
  readonly measurements: readonly Measurement[];
}

export function share({ value, limit }: Measurement): number {
  return value / limit;
}

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? NaN;
}
