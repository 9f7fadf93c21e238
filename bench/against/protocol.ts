/** What the process of a tree can be asked for. */
import type { ComputeDtype } from '../../src/index.ts';
import type { Work } from './cases.ts';

export type Request =
  /** Replaces the model there was. */
  | {
      readonly call: 'load';
      readonly config: Readonly<Record<string, unknown>>;
      readonly dtype: ComputeDtype;
    }
  /** Gets ready for a work, and warms up. */
  | { readonly call: 'prepare'; readonly work: Work }
  /** Milliseconds of it. */
  | { readonly call: 'measure' }
  | { readonly call: 'describe' };

export interface TreeDescription {
  /** Undefined of trees that know no limit. */
  readonly isa: string | undefined;
  readonly threads: number;
}
