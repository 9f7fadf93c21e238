/** What the choice of a compute type is made of. */
import type { ComputeDtype, Device } from '../native.ts';

/** The least exact type that a choice may take. */
export type Accuracy = 'float32' | 'bfloat16' | 'int8';

/** Which compute type `dtype: 'auto'` stands for, and why. */
export interface DtypeChoice {
  readonly dtype: ComputeDtype;
  /** One sentence, for people. */
  readonly reason: string;
  /** What the accuracy admitted, the most exact type first. */
  readonly admitted: readonly ComputeDtype[];
  readonly device: Device;
  /** Rows of a decoding step that the choice is for. */
  readonly expectedBatch: number;
  /**
   * Median milliseconds of a decoding step with the model's sizes and fewer layers, by type; absent
   * where there was nothing to measure.
   */
  readonly measured?: Readonly<Partial<Record<ComputeDtype, number>>>;
}
