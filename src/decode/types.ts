/** The public types of decoding. Option names and meanings are those of Hugging Face `generate`. */
import type { ComputeDtype } from '../native.ts';
import type { Tokenizer } from '../tokenizer/index.ts';

export interface GenerationOptions {
  /** Most tokens to generate, the end token included. Default 20. */
  readonly maxNewTokens?: number;
  /** No end token before this many tokens. Default 0. */
  readonly minNewTokens?: number;
  /** 1 (default): no beam search. */
  readonly numBeams?: number;
  /** Sequences per request: at most `numBeams` unless sampling. Default 1. */
  readonly numReturnSequences?: number;
  /** Scores are divided by length to this power. Default 1. */
  readonly lengthPenalty?: number;
  /** When beam search stops; 'never' only once no better hypothesis can follow. Default false. */
  readonly earlyStopping?: boolean | 'never';
  /** No n-gram of this size twice; 0 (default): off. */
  readonly noRepeatNgramSize?: number;
  /** Divides the scores of tokens already generated; 1 (default): off. */
  readonly repetitionPenalty?: number;
  /** Sample instead of taking the best token. Default false. */
  readonly doSample?: boolean;
  /** Default 1. */
  readonly temperature?: number;
  /** Sample among this many best tokens; 0: off. Default 50. */
  readonly topK?: number;
  /** Sample among the best tokens whose probabilities add up to this. Default 1: off. */
  readonly topP?: number;
  /** Drop tokens less probable than this times the best one. Default 0: off. */
  readonly minP?: number;
  /** Seed of sampling. Default 0. */
  readonly seed?: number;
  /** End tokens; default: those of the checkpoint. */
  readonly eosTokenId?: number | readonly number[];
  /** Text ends before the first occurrence of one of these strings. */
  readonly stop?: string | readonly string[];
  /** Return the log-probability of each token. Default false. */
  readonly logProbs?: boolean;
}

/** A prompt as text (needs a tokenizer) or as token ids, end token included. */
export type GenerationRequest = GenerationOptions &
  (
    | { readonly prompt: string; readonly inputIds?: undefined }
    | {
        readonly inputIds: readonly number[] | Int32Array | BigInt64Array;
        readonly prompt?: undefined;
      }
  );

export interface GeneratedSequence {
  /** Without the start token, with the end token if one was generated. */
  readonly tokenIds: number[];
  /** Present if the engine has a tokenizer. */
  readonly text?: string;
  /** Beam search: sum of log-probabilities / length^lengthPenalty. */
  readonly score?: number;
  /** One per token, if asked for. */
  readonly logProbs?: number[];
  /** 'stop': an end token or a stop string; 'length': `maxNewTokens` was reached. */
  readonly finishReason: 'stop' | 'length';
}

export interface GenerationResult {
  readonly sequences: GeneratedSequence[];
  readonly promptTokens: number;
  /** Tokens of all sequences. */
  readonly generatedTokens: number;
  /** Time waiting for earlier requests, and time of the batch it was decoded in. */
  readonly queueMilliseconds: number;
  readonly decodeMilliseconds: number;
}

export interface TokenChunk {
  readonly tokenId: number;
  /** Text that this token completed, possibly empty; present if the engine has a tokenizer. */
  readonly text?: string;
}

export interface EngineOptions {
  readonly kvCache?: {
    /** Tokens per block. Default 16. */
    readonly blockSize?: number;
    /** Budget of the cache in bytes. Default: 256 MiB. */
    readonly maxBytes?: number;
    /** Default: the model's compute type. */
    readonly dtype?: ComputeDtype;
  };
  /** Sequences decoded together, beams counted. Default 16. */
  readonly maxBatchSize?: number;
  /** Source tokens of the requests decoded together. Default 16384. */
  readonly maxBatchTokens?: number;
  /** Default: the tokenizer of the model's directory, loaded when first needed. */
  readonly tokenizer?: Tokenizer;
}

export interface EngineStats {
  /** Requests waiting, being decoded, and done. */
  readonly queued: number;
  readonly running: number;
  readonly completed: number;
  /** Bytes held by the cache, and bytes one more token takes in each kind of attention. */
  readonly cacheBytes: number;
  readonly cacheBytesPerToken: { readonly selfAttention: number; readonly crossAttention: number };
  readonly blocksTotal: number;
  readonly blocksFree: number;
  readonly decodeSteps: number;
  readonly generatedTokens: number;
  readonly encodeMilliseconds: number;
  readonly decodeMilliseconds: number;
  /** Bytes of weights read by decoding steps so far. */
  readonly decodeWeightBytes: number;
}
