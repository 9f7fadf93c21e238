/** Steps of each type, timed on this machine. */
import {
  callNative,
  native,
  type ComputeDtype,
  type NativeModelConfig,
  type NativeStepTypes,
} from '../native.ts';
import { probeConfig, probeOf, probeShapeOf, SOURCE_TOKENS, TARGET_TOKENS } from './probe.ts';
import type { StepMilliseconds } from './remembered.ts';

/** Each with the cache that an engine gives it unless told otherwise. */
const TYPES: readonly NativeStepTypes[] = [
  { dtype: 'float32', cacheDtype: 'float32' },
  { dtype: 'bfloat16', cacheDtype: 'bfloat16' },
  { dtype: 'int8', cacheDtype: 'bfloat16' },
];

/** Timing alone; making the weights takes about as long. */
const SECONDS = 0.3;

export type MeasureSteps = (
  config: NativeModelConfig,
  rows: number,
  threads: number,
) => Promise<StepMilliseconds>;

/** Under a second, on threads of its own, the types in turn. */
export const measureSteps: MeasureSteps = async (config, rows, threads) => {
  const probe = probeConfig(config, probeOf(probeShapeOf(config), rows));
  const sizes = { rows, sourceTokens: SOURCE_TOKENS, targetTokens: TARGET_TOKENS };
  const rounds = await callNative(() =>
    native().measureSteps(probe, TYPES, { ...sizes, threads, seconds: SECONDS }),
  );
  const milliseconds: Partial<Record<ComputeDtype, number>> = {};
  TYPES.forEach(({ dtype }, i) => {
    const seconds = rounds[i] ?? [];
    if (seconds.length > 0) milliseconds[dtype] = 1000 * median(seconds);
  });
  return milliseconds;
};

function median(values: readonly number[]): number {
  const sorted = Float64Array.from(values).sort();
  const [low, high] = [Math.floor((sorted.length - 1) / 2), Math.ceil((sorted.length - 1) / 2)];
  return ((sorted[low] ?? NaN) + (sorted[high] ?? NaN)) / 2;
}
