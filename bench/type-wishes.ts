/** How fast each compute type should be, by instruction set: as shares of float32, and of memory. */
import type { ComputeDtype } from '../src/index.ts';

export interface TypeWishes {
  /** Of float32's steps per second. */
  readonly step: (dtype: ComputeDtype, batch: number) => number | undefined;
  /** Of read bandwidth: weights at batch 1, with the cache at batch 8. */
  readonly bandwidth: (dtype: ComputeDtype, batch: number) => number | undefined;
  /** Of float32's tokens per second. */
  readonly encoding: (dtype: ComputeDtype) => number | undefined;
  /** One source in float32, of the tokens per second of eight. */
  readonly alone: number | undefined;
}

type Shares = Readonly<Partial<Record<ComputeDtype, number>>>;

const AVX2_STEPS: ReadonlyMap<number, Shares> = new Map([
  [1, { bfloat16: 1.6, int8: 2.5 }],
  [8, { bfloat16: 1, int8: 1.5 }],
  [32, { bfloat16: 1, int8: 1.5 }],
]);
const AVX2_BANDWIDTHS: ReadonlyMap<number, Shares> = new Map([
  [1, { int8: 0.8 }],
  [8, { float32: 0.7, bfloat16: 0.6, int8: 0.45 }],
]);
const AVX2_ENCODING: Shares = { bfloat16: 1, int8: 1.3 };
/** No type is a trap. */
const NEVER_SLOWER = 0.97;
const ALONE = 0.95;

const NOTHING: TypeWishes = {
  step: () => undefined,
  bandwidth: () => undefined,
  encoding: () => undefined,
  alone: undefined,
};

const AVX2: TypeWishes = {
  step: (dtype, batch) => AVX2_STEPS.get(batch)?.[dtype],
  bandwidth: (dtype, batch) => AVX2_BANDWIDTHS.get(batch)?.[dtype],
  encoding: (dtype) => AVX2_ENCODING[dtype],
  alone: ALONE,
};

const AVX512: TypeWishes = {
  ...NOTHING,
  step: () => NEVER_SLOWER,
  encoding: () => NEVER_SLOWER,
};

/** @param isa the highest in force */
export function wishesFor(isa: string): TypeWishes {
  if (isa === 'avx2') return AVX2;
  return isa.startsWith('avx512') ? AVX512 : NOTHING;
}
