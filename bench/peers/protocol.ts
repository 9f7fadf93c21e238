/** What a contender can be asked for, across the border of its process. */
import type { DecodedTokens } from './contender.ts';

export type Request =
  | { readonly call: 'load'; readonly options: LoadOptions }
  | { readonly call: 'encode'; readonly sources: readonly (readonly number[])[] }
  | { readonly call: 'decode'; readonly decoding: DecodingOptions }
  | { readonly call: 'release' };

export interface LoadOptions {
  /** A checkpoint of ours, or a directory of exported graphs: whatever the contender runs. */
  readonly directory: string;
  readonly dtype: 'float32' | 'bfloat16' | 'int8';
  readonly threads: number;
  /** Most rows of a step, beams counted, and most tokens of a row that will be asked for. */
  readonly mostRows: number;
  readonly mostTokens: number;
}

export interface DecodingOptions {
  readonly numBeams: number;
  /** Every sequence has so many: an end token is never chosen. */
  readonly newTokens: number;
}

export interface Loaded {
  readonly milliseconds: number;
}

export interface Encoded {
  /** Until every source has its first token. */
  readonly milliseconds: number;
  /** Of the whole process. */
  readonly residentBytes: number;
}

export interface Decoded extends DecodedTokens {
  readonly residentBytes: number;
}
