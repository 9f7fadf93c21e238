/** The public types of decoding. Option names and meanings are those of Hugging Face `generate`. */
import type { TokenRow } from '../model/index.ts';
import type { CacheDtype, NativeBlockCounts, NativePercentiles } from '../native.ts';
import type { Tokenizer } from '../tokenizer/index.ts';

/** A row of logits before a token of it is chosen. */
export interface LogitsContext {
  /** The forced prefix and what was generated after it; without the start token. */
  readonly tokenIds: Int32Array;
  /**
   * [vocabulary], to be changed in place, or returned anew; -Infinity bans a token, but not all of
   * them.
   */
  readonly logits: Float32Array;
  /** Which of the sequences that the request decodes at present; beams change places. */
  readonly row: number;
}

/** New logits [vocabulary]; nothing where they were changed in place. */
// eslint-disable-next-line @typescript-eslint/no-invalid-void-type -- functions without return fit
type ProcessedLogits = Float32Array | readonly number[] | void;

/**
 * Called for each row of each step before all other processing; changes the logits, or returns new
 * ones. It may take its time: other requests go on. What it throws or rejects with ends its request
 * alone, which rejects with just that.
 */
export type LogitsProcessor = (
  context: LogitsContext,
) => ProcessedLogits | Promise<ProcessedLogits>;

export interface GenerationOptions {
  /** Most tokens to generate, the end token included, a forced prefix not. Default 20. */
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
  /** Keep tokens of typical information with this probability together. Default 1: off. */
  readonly typicalP?: number;
  /** Sample no token less probable than this. Default 0: off. */
  readonly epsilonCutoff?: number;
  /** As `epsilonCutoff`, but lower where the entropy is high. Default 0: off. */
  readonly etaCutoff?: number;
  /** Seed of sampling. Default: a random one, told in the result. */
  readonly seed?: number;
  /** End tokens; default: those of the checkpoint. */
  readonly eosTokenId?: number | readonly number[];
  /** The first generated token, unless there is a forced prefix. */
  readonly forcedBosTokenId?: number;
  /** The token, or one of the tokens, at place `maxNewTokens`. */
  readonly forcedEosTokenId?: number | readonly number[];
  /** Tokens that are never generated. */
  readonly suppressTokens?: readonly number[];
  /** Tokens that are not generated first (after a forced first token: second). */
  readonly beginSuppressTokens?: readonly number[];
  /** Sequences of tokens that are not generated; at most 16,384 ids in all. */
  readonly badWordsIds?: readonly (readonly number[])[];
  /** Added to the score of a sequence's last token where the others precede it; as `badWordsIds`. */
  readonly sequenceBias?: readonly (readonly [tokenIds: readonly number[], bias: number])[];
  /** No n-gram of this size of the source; 0 (default): off. */
  readonly encoderNoRepeatNgramSize?: number;
  /** Multiplies the scores of the source's tokens; 1 (default): off. */
  readonly encoderRepetitionPenalty?: number;
  /** End tokens gain from place `start` on, by `factor` to the power of the distance. */
  readonly exponentialDecayLengthPenalty?: readonly [start: number, factor: number];
  /** Take log_softmax of processed scores. Default false. */
  readonly renormalizeLogits?: boolean;
  /** Replace NaN and infinities of logits instead of failing. Default false. */
  readonly removeInvalidValues?: boolean;
  /**
   * Generated text ends before the first occurrence of one of these strings: at most 256, of 1,024
   * characters at most each and 16,384 together.
   */
  readonly stop?: string | readonly string[];
  /** Leave special tokens out of texts, and of where stop strings are looked for. Default true. */
  readonly skipSpecialTokens?: boolean;
  /** Return the log-probability of each generated token. Default false. */
  readonly logProbs?: boolean;
  /** Return as many of the most probable tokens at each place, too: 0 (default) to 100. */
  readonly topLogProbs?: number;
  /**
   * Token ids that every sequence begins with, after the start token, which is added where it is
   * not the first of them. Not with `forcedPrefix`.
   */
  readonly decoderInputIds?: TokenRow;
  /** As text (needs a tokenizer), what `decoderInputIds` are as token ids. */
  readonly forcedPrefix?: string;
  /** Seconds after which sequences end as they are. Default: no such time. */
  readonly maxTime?: number;
  /** Milliseconds until the request fails with TIMEOUT. Default: the engine's limit. */
  readonly timeout?: number;
  /** Change logits, one after the other, before all other processing. Default: none. */
  readonly logitsProcessors?: readonly LogitsProcessor[];
}

interface TextPrompt {
  /** May be '': the end token alone. */
  readonly prompt: string;
  readonly inputIds?: undefined;
  readonly attentionMask?: undefined;
}

interface TokenPrompt {
  /** End token included. */
  readonly inputIds: TokenRow;
  /**
   * 1 for tokens, 0 for padding before and behind them. Default: pad tokens are masked, unless they
   * are end tokens, too.
   */
  readonly attentionMask?: TokenRow;
  readonly prompt?: undefined;
}

/** A prompt as text (needs a tokenizer) or as token ids. */
export type GenerationRequest = GenerationOptions & (TextPrompt | TokenPrompt);

/** A token that was, or could have been, generated at some place. */
export interface TokenAlternative {
  readonly tokenId: number;
  /** Of the model's distribution before any processing. */
  readonly logProb: number;
}

/**
 * 'stop': an end token or a stop string; 'length': `maxNewTokens` was reached; 'time': `maxTime`
 * had passed; 'blocked': no token was allowed any more.
 */
export type FinishReason = 'stop' | 'length' | 'time' | 'blocked';

export interface GeneratedSequence {
  /** Without the start token, with a forced prefix, with the end token if one was generated. */
  readonly tokenIds: number[];
  /** Present if the engine has a tokenizer. */
  readonly text?: string;
  /** Beam search: sum of log-probabilities / length^lengthPenalty. */
  readonly score?: number;
  /** One per generated token, if asked for: of the model's distribution before any processing. */
  readonly logProbs?: number[];
  /** For each generated token, if asked for: the most probable tokens at its place, best first. */
  readonly topLogProbs?: TokenAlternative[][];
  readonly finishReason: FinishReason;
  /** The stop string that ended it; absent where an end token did. */
  readonly stopString?: string;
}

export interface GenerationResult {
  /** Beams best first: `numReturnSequences` of them, less `missingSequences`. */
  readonly sequences: GeneratedSequence[];
  /** Sequences that beam search had no more continuations for: mostly 0. */
  readonly missingSequences: number;
  /** Source tokens, without padding. */
  readonly promptTokens: number;
  /** The seed that repeats the result, if it was sampled. */
  readonly seed?: number;
  /** Tokens generated in all sequences. */
  readonly generatedTokens: number;
  /** Time until work on it first began, and from then to its end. */
  readonly queueMilliseconds: number;
  readonly decodeMilliseconds: number;
  /** Time from submission until its first token was chosen. */
  readonly firstTokenMilliseconds: number;
  /** Source tokens that need not be encoded, since an earlier request had the same source. */
  readonly cachedPromptTokens: number;
  /** Times it gave up its cache blocks to earlier requests; without effect on its sequences. */
  readonly preemptions: number;
}

export interface TokenChunk {
  readonly tokenId: number;
  /** Which of the request's sequences: 0 to `numReturnSequences` - 1. */
  readonly sequence: number;
  /** Text that this token completed, possibly empty; present if the engine has a tokenizer. */
  readonly text?: string;
  /** If asked for. */
  readonly logProb?: number;
  /** If asked for: the most probable tokens at its place, best first. */
  readonly topLogProbs?: TokenAlternative[];
}

/** Chunks, and at their end the whole result: what the generator returns, and `result`. */
export interface TokenStream extends AsyncGenerator<TokenChunk, GenerationResult, undefined> {
  /** Settles when the stream was read to its end, or left. */
  readonly result: Promise<GenerationResult>;
}

/** What one engine grants its requests. */
export interface EngineLimits {
  /** Requests that have not ended; one more fails with OVERLOADED. Default 16384. */
  readonly requests?: number;
  /**
   * Source tokens of a request, and of a forced prefix. A text of over 32 times as many characters
   * is refused unread. Default: what the cache holds.
   */
  readonly inputTokens?: number;
  /** The largest `maxNewTokens`. Default: what the cache holds. */
  readonly newTokens?: number;
  /** The longest `timeout` in milliseconds, and that of requests without one. Default: none. */
  readonly timeout?: number;
}

export interface EngineOptions {
  readonly kvCache?: {
    /** Tokens per block. Default 16, on a GPU 64. */
    readonly blockSize?: number;
    /** Budget of the cache in bytes. Default: 256 MiB, on a GPU 4 GiB of its memory. */
    readonly maxBytes?: number;
    /**
     * Default: the model's compute type, 'bfloat16' for int8. 'int8' keeps each key and each value
     * of a head as integers with a scale: half as many bytes as 'bfloat16', and 4 for the scale.
     * 'float16': on a GPU alone.
     */
    readonly dtype?: CacheDtype;
  };
  /** Sequences of a step, beams and samples counted. Default 64. */
  readonly maxBatchSize?: number;
  /**
   * Tokens of work that a step takes on beside one token of each running sequence: of encoding as
   * much (up to four times as much while more sources wait than sequences run), and as much of
   * tokens that are only fed (forced prefixes, resumed requests). Small: short steps for running
   * streams; large: more throughput. Default 64, on a GPU 4,096.
   */
  readonly maxBatchTokens?: number;
  /** Threads of the engine's parallel work. Default: as many as the model's. */
  readonly threads?: number;
  /** Chunks that a stream holds unread before its request pauses. Default 64. */
  readonly streamBuffer?: number;
  readonly limits?: EngineLimits;
  /** Default: the tokenizer of the model's directory, loaded when first needed. */
  readonly tokenizer?: Tokenizer;
}

export interface CloseOptions {
  /**
   * 'drain' (default): what was submitted is finished first, streams as fast as they are read.
   * 'abort': unfinished requests reject with DISPOSED.
   */
  readonly mode?: 'drain' | 'abort';
}

/** Blocks by state: room for more, kept for later requests, read by running ones. */
export type BlockCounts = Readonly<NativeBlockCounts>;

/** Percentiles of the last 1,024 values, 0 before the first. */
export type Percentiles = Readonly<NativePercentiles>;

/** Look-ups in what is kept for later requests. */
export interface HitCounts {
  readonly lookups: number;
  readonly hits: number;
  /** hits / lookups, 0 before the first. */
  readonly hitRate: number;
}

/** As of the engine's last step. */
export interface EngineStats {
  /**
   * Requests that wait for room, are being encoded, decode, or are held up by a slow reader or a
   * logits processor.
   */
  readonly queued: number;
  readonly encoding: number;
  readonly running: number;
  readonly held: number;
  /** Requests that ended well, by abort, and with any other error. */
  readonly completed: number;
  readonly aborted: number;
  readonly failed: number;
  /** Times a request gave up its blocks to earlier ones. */
  readonly preemptions: number;
  /** Bytes of blocks in use or kept for later requests, of at most `maxCacheBytes`. */
  readonly cacheBytes: number;
  readonly maxCacheBytes: number;
  /** Bytes that one more token takes in each kind of attention. */
  readonly cacheBytesPerToken: { readonly selfAttention: number; readonly crossAttention: number };
  readonly blocks: { readonly selfAttention: BlockCounts; readonly crossAttention: BlockCounts };
  /** Tokens of decoder histories looked up, and found, in the cache. */
  readonly prefixCache: HitCounts;
  /** Sources looked up, and found. */
  readonly sourceCache: HitCounts;
  readonly encodedTokens: number;
  readonly decodeSteps: number;
  /** Rows of all decoding steps. */
  readonly decodedRows: number;
  /** Tokens generated in the sequences that were returned. */
  readonly generatedTokens: number;
  readonly encodeMilliseconds: number;
  readonly decodeMilliseconds: number;
  /** Rows scored per second of step, over the last 1,024 steps. */
  readonly tokensPerSecond: number;
  /** Of a step: a slice of encoding, and a decoding step. */
  readonly stepMilliseconds: Percentiles;
  /** Of requests, from submission to the first token. */
  readonly firstTokenMilliseconds: Percentiles;
  /** Bytes of weights read by decoding steps so far. */
  readonly decodeWeightBytes: number;
}
