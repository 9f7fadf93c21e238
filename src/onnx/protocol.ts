/** What an engine and its thread tell each other. Everything here can be cloned. */
import { WgqaError, type ErrorCode } from '../errors.ts';
import type { FinishedRequest, ResolvedOptions } from '../decode/request-reader.ts';
import type { TokenAlternative } from '../decode/types.ts';
import type { TokenPieces } from '../tokenizer/index.ts';
import type { ExecutionProvider } from './types.ts';

/** Here, and not beside the runtime's types, which a project without onnxruntime-node lacks. */
export interface SessionSettings {
  readonly executionProviders: readonly ExecutionProvider[];
  /** 0: the runtime's default, one per core. */
  readonly threads: number;
}

export interface ThreadSettings extends SessionSettings {
  /** Path of each graph; the same for both decoders where one file holds both steps. */
  readonly files: {
    readonly encoder: string;
    readonly decoder: string;
    readonly decoderWithPast: string;
  };
  readonly layers: number;
  readonly vocabSize: number;
}

export interface ThreadRequest {
  readonly id: number;
  readonly inputIds: Int32Array;
  /** 1 for tokens that the encoder sees, 0 for others. */
  readonly mask: Int32Array;
  /** The start token and the forced prefix. */
  readonly prompt: readonly number[];
  readonly options: ResolvedOptions;
  readonly stops: readonly string[];
  /** Present with stop strings. */
  readonly pieces: TokenPieces | undefined;
  readonly reportTokens: boolean;
  /** Since the epoch, in milliseconds. */
  readonly submitted: number;
  /** Since the epoch, in milliseconds; Infinity: none. */
  readonly deadline: number;
  /** One number of shared memory, not 0 once the request is given up. */
  readonly abandoned: Int32Array;
}

export type ToThread =
  { readonly kind: 'request'; readonly request: ThreadRequest } | { readonly kind: 'close' };

export type FromThread =
  | { readonly kind: 'ready' }
  | { readonly kind: 'refused'; readonly error: ClonedError }
  | {
      readonly kind: 'token';
      readonly id: number;
      readonly sequence: number;
      readonly tokenId: number;
      readonly logProb: number;
      readonly alternatives: TokenAlternative[];
    }
  | { readonly kind: 'finished'; readonly id: number; readonly result: FinishedRequest }
  | { readonly kind: 'failed'; readonly id: number; readonly error: ClonedError };

/** A WgqaError without its class, which cloning loses. */
export interface ClonedError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field: string | undefined;
  readonly allowed: string | undefined;
}

export function cloneError(error: unknown): ClonedError {
  if (error instanceof WgqaError) {
    const { code, message, field, allowed } = error;
    return { code, message, field, allowed };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'INTERNAL', message, field: undefined, allowed: undefined };
}

export function restoreError({ code, message, field, allowed }: ClonedError): WgqaError {
  return new WgqaError(code, message, { field, allowed });
}
