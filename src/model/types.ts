/** The public types of a model: what section "API" of the README describes. */
import type { ModelConfig } from '../checkpoint/config.ts';
import type { ConversionConfig } from '../checkpoint/grouping.ts';
import type { ConvertOptions } from '../convert/options.ts';
import type { ResolveModelOptions } from '../hub/index.ts';
import type { Accuracy, DtypeChoice } from '../dtype/index.ts';
import type {
  AttentionModule,
  ComputeDtype,
  Device,
  FloatDtype,
  MergeGranularity,
} from '../native.ts';

export type {
  Accuracy,
  AttentionModule,
  ComputeDtype,
  ConversionConfig,
  Device,
  DtypeChoice,
  FloatDtype,
  MergeGranularity,
  ModelConfig,
};

/** A dense row-major float32 tensor. */
export interface Tensor {
  readonly data: Float32Array;
  readonly shape: readonly number[];
}

/** One row of token ids. */
export type TokenRow = readonly number[] | Int32Array | BigInt64Array;

/** Rows of token ids: one array per row, or one dense block of shape [rows, columns]. */
export type TokenRows =
  | readonly TokenRow[]
  | { readonly data: Int32Array | BigInt64Array; readonly shape: readonly number[] };

export interface ParameterInfo {
  readonly shape: readonly number[];
  readonly dtype: FloatDtype;
}

export interface CreateModelOptions {
  /** Seed of the initial weights. Default 0. */
  readonly seed?: number;
  /** Default 'auto': the GPU where there is one that can run the model, else the CPU. */
  readonly device?: 'auto' | Device;
  /**
   * Compute type of inference. 'int8': weights quantised per output feature, and what they are
   * multiplied with per row as it comes. 'float16': on a GPU alone; the CPU refuses it with
   * UNSUPPORTED. 'auto': the fastest that `accuracy` admits, as `Model.dtypeChoice` says; on the
   * CPU it is measured once per machine and shape, in under a second. Training has a type of its
   * own. Default 'float32'.
   */
  readonly dtype?: ComputeDtype | 'auto';
  /**
   * With `dtype: 'auto'`: the least exact type it may take. Default: only types at least as exact
   * as the file's weights (float32 of a float32 file; float32 or bfloat16 of a bfloat16 one).
   */
  readonly accuracy?: Accuracy;
  /** With `dtype: 'auto'`: rows of a decoding step that it shall be fastest for. Default 8. */
  readonly expectedBatch?: number;
  /** Threads of native work; default: one per core. */
  readonly threads?: number;
}

/** What `dtype: 'auto'` depends on besides the checkpoint. */
export type ChooseDtypeOptions = Pick<
  CreateModelOptions,
  'device' | 'accuracy' | 'expectedBatch' | 'threads'
> & { readonly signal?: AbortSignal };

export interface LoadModelOptions
  extends Omit<CreateModelOptions, 'seed'>, Omit<ResolveModelOptions, 'onProgress'> {
  readonly signal?: AbortSignal;
  /**
   * Called while files are downloaded, with counts of bytes and 'bytes', then while weights are
   * prepared, with counts of tensors.
   */
  readonly onProgress?: (done: number, total: number, unit?: 'bytes') => void;
}

export interface SaveOptions {
  /**
   * 'grouped' (default) writes K/V projections with the heads the model has; 'expanded' repeats
   * them to all heads, so that stock Hugging Face code loads the result unchanged.
   */
  readonly layout?: 'grouped' | 'expanded';
  /** Type of the stored weights; merge weights are always float32. Default: as held in memory. */
  readonly dtype?: FloatDtype;
  /** Larger checkpoints are cut into shards of at most this many bytes. Default 5e9. */
  readonly maxShardBytes?: number;
}

export interface ForwardInput {
  /** Source token ids, one row per sequence. */
  readonly inputIds: TokenRows;
  /**
   * 1 for tokens, 0 for padding, in the shape of `inputIds`. The ones of a row must be contiguous:
   * padding stands left or right of them. Default: 0 for pad tokens left or right of the others,
   * unless they are end tokens, too.
   */
  readonly attentionMask?: TokenRows;
  /** Target token ids, -100 for positions that do not count in the loss. */
  readonly labels?: TokenRows;
  /** Default: `labels` shifted right behind the decoder start token, or that token alone. */
  readonly decoderInputIds?: TokenRows;
}

export interface ForwardResult {
  /** [rows, target columns, vocabulary]; zero behind the end of shorter rows. */
  readonly logits: Tensor;
  /** Mean cross-entropy per counted label, in nats; present iff `labels` were given. */
  readonly loss?: number;
  /** Encoder output after the final norm, [rows, source columns, d_model]; zero where padded. */
  readonly encoderStates?: Tensor;
}

export interface Model extends AsyncDisposable {
  /** The configuration as in `config.json`, with every default filled in. */
  readonly config: ModelConfig;
  /** 'cpu' or 'cuda'. */
  readonly device: Device;
  /** Compute type of inference. */
  readonly dtype: ComputeDtype;
  /** What `dtype: 'auto'` rested on; undefined of a model that was given its type. */
  readonly dtypeChoice: DtypeChoice | undefined;
  /** Directory it was loaded from, if any. */
  readonly directory: string | undefined;
  /** Number of trainable scalars, merge weights included. */
  readonly parameterCount: number;
  /** Name, shape and stored type of every parameter, in the order of the architecture. */
  parameters(): ReadonlyMap<string, ParameterInfo>;
  /** A copy of one parameter in float32. */
  readParameter(name: string): Promise<Tensor>;
  /** Replaces one parameter. @throws WgqaError INVALID_ARGUMENT if the shape differs */
  writeParameter(name: string, value: Tensor): Promise<void>;
  /**
   * A new model whose K/V heads are grouped; this one stays as it is.
   * @throws WgqaError ALREADY_CONVERTED, INVALID_ARGUMENT, NON_FINITE on calibration text, ABORTED
   */
  convert(options: ConvertOptions, call?: { readonly signal?: AbortSignal }): Promise<Model>;
  /**
   * A new model with merge and expansion weights multiplied into its projections: the same logits,
   * fewer parameters. @throws WgqaError NOTHING_TO_FOLD
   */
  fold(): Promise<Model>;
  /** Writes a Hugging Face checkpoint directory: all of it or nothing. */
  save(directory: string, options?: SaveOptions): Promise<void>;
  /** One forward pass without dropout. */
  forward(input: ForwardInput, options?: { readonly signal?: AbortSignal }): Promise<ForwardResult>;
  /** Bytes of parameters and of packed weights held in native memory. */
  memoryBytes(): Promise<{ readonly parameters: number; readonly packed: number }>;
  /** Waits for running work, then frees everything, trainers and engines of it included. */
  dispose(): Promise<void>;
}
