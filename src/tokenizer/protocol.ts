/** What the tokenizers of this thread and the thread they encode in tell each other. */
import type { ClonedError } from '../errors.ts';
import type { Component } from './description/index.ts';

/** A tokenizer as the calling thread needs it. */
export interface LoadedTokenizer {
  /** Names the tokenizer in later requests. */
  readonly handle: number;
  /** The text of each token, where there is one. */
  readonly tokens: readonly (string | undefined)[];
  /** What decoders get in place of a token's text, where that is something else. */
  readonly decodedTokens: ReadonlyMap<number, string>;
  readonly addedIds: readonly number[];
  readonly specialIds: readonly number[];
  readonly padTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly decoder: Component;
}

export interface EncodeRequest {
  readonly kind: 'encode';
  readonly handle: number;
  readonly texts: readonly string[];
  readonly addSpecialTokens: boolean;
}

export type Request = { readonly kind: 'load'; readonly directory: string } | EncodeRequest;

export interface Results {
  load: LoadedTokenizer;
  /** The ids of each text. */
  encode: Int32Array[];
}

export type ToThread =
  | {
      readonly kind: 'request';
      readonly id: number;
      readonly request: Request;
      /** One number of shared memory, set once the answer is there, for one who waits for it. */
      readonly answered: Int32Array | undefined;
    }
  | { readonly kind: 'release'; readonly handle: number };

export type FromThread =
  | { readonly id: number; readonly result: Results[keyof Results] }
  | { readonly id: number; readonly error: ClonedError };
