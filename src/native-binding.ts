/** What the native addon exports: types alone, read through `native.ts`. */

export type FloatDtype = 'float32' | 'float16' | 'bfloat16';
export type ComputeDtype = 'float32' | 'float16' | 'bfloat16' | 'int8';
export type CacheDtype = 'float32' | 'float16' | 'bfloat16' | 'int8';
export type Activation = 'relu' | 'gelu' | 'geluTanh' | 'silu';
export type MergeGranularity = 'head' | 'row' | 'column';
export type MergeInit = 'mean' | 'random' | 'least-squares';
export type MergeConstraint = 'none' | 'softmax' | 'signed';
export type AttentionModule = 'decoder.self' | 'decoder.cross' | 'encoder.self';

/** T5 as the native model sees it; sizes are counts of elements. */
export interface NativeModelConfig {
  vocabSize: number;
  dModel: number;
  dKv: number;
  dFf: number;
  encoderLayers: number;
  decoderLayers: number;
  heads: number;
  /** K/V heads of each module, in all layers or by layer; heads where it is multi-head. */
  kvHeads: Record<AttentionModule, number | number[]>;
  /** Modules that carry merge weights (their K/V projections still have all heads). */
  mergedModules: AttentionModule[];
  /** Modules that carry expansion weights. */
  expandedModules: AttentionModule[];
  /** Present iff mergedModules is not empty. */
  granularity?: MergeGranularity;
  constraint: MergeConstraint;
  relativeBuckets: number;
  relativeMaxDistance: number;
  layerNormEpsilon: number;
  activation: Activation;
  gated: boolean;
  tiedEmbeddings: boolean;
  /** Multiply decoder outputs by dModel^-0.5 before the vocabulary projection (T5 v1.0). */
  scaleDecoderOutputs: boolean;
  dropoutRate: number;
  initializerFactor: number;
  padTokenId: number;
  eosTokenIds: number[];
  decoderStartTokenId: number;
}

/** Where a tensor of a checkpoint lies: `bytes` at `offset` of `file`, little-endian, dense. */
export interface NativeTensorSource {
  name: string;
  dtype: FloatDtype;
  shape: number[];
  file: string;
  offset: number;
  bytes: number;
}

export type Device = 'cpu' | 'cuda';

export interface NativeModelOptions {
  /** 'auto': the GPU where there is one that can run the model. */
  device: 'auto' | Device;
  /** Compute type of inference; training always computes in float32. */
  dtype: ComputeDtype;
  /** Threads of native work, 0 for the default. */
  threads: number;
}

export interface NativeParameterInfo {
  name: string;
  shape: number[];
  dtype: FloatDtype;
}

export interface NativeConvertOptions {
  /** Of modules that are not in kvHeadsByLayer. */
  kvHeads: number;
  kvHeadsByLayer: Partial<Record<AttentionModule, number[]>>;
  merge: 'mean' | 'weighted';
  granularity: MergeGranularity;
  init: MergeInit;
  constraint: MergeConstraint;
  seed: number;
  expansion: boolean;
  grouping: 'neighbouring' | 'similarity';
  alignment: 'none' | 'orthogonal';
  modules: AttentionModule[];
}

/** Sequences one after another; sequence i owns [offsets[i], offsets[i + 1]). */
export interface NativeRagged {
  ids: Int32Array;
  offsets: Int32Array;
}

/** decoder.ids are decoder inputs; labels (same length as decoder.ids) use -100 for "ignored". */
export interface NativeBatch {
  encoder: NativeRagged;
  decoder: NativeRagged;
  labels?: Int32Array;
}

export interface NativeForwardResult {
  /** [decoder tokens, vocab]; absent if not asked for. */
  logits?: Float32Array;
  /** [encoder tokens, dModel]; absent if not asked for. */
  encoderStates?: Float32Array;
  /** [sequences]: sums of the cross-entropy over counted labels; present iff labels were given. */
  lossSums?: Float64Array;
}

/** Set from the event loop, read by native code between layers and steps. */
export interface NativeAbortFlag {
  abort(): void;
}

export interface NativeModel {
  config(): NativeModelConfig;
  device(): Device;
  parameters(): NativeParameterInfo[];
  /** Always float32, row-major. */
  readParameter(name: string): Promise<Float32Array>;
  /** Little-endian bytes in `dtype`: what a checkpoint file holds. */
  readParameterBytes(name: string, dtype: FloatDtype): Promise<Uint8Array>;
  /** Copies `data` before it returns. */
  writeParameter(name: string, data: Float32Array): Promise<void>;
  /** `calibration` may be empty unless an option needs it. */
  convert(
    options: NativeConvertOptions,
    calibration: NativeBatch[],
    abort: NativeAbortFlag | undefined,
  ): Promise<NativeModel>;
  fold(abort: NativeAbortFlag | undefined): Promise<NativeModel>;
  forward(
    batch: NativeBatch,
    want: { logits: boolean; encoderStates: boolean },
    abort: NativeAbortFlag | undefined,
  ): Promise<NativeForwardResult>;
  /** Bytes of parameters, packed weights and scratch memory held by native code. */
  memoryBytes(): Promise<{ parameters: number; packed: number }>;
  /** Waits for running work, then frees everything. Idempotent. */
  dispose(): Promise<void>;
}

export type NativeOptimizer =
  | { type: 'adamw'; beta1: number; beta2: number; epsilon: number; weightDecay: number }
  | {
      type: 'adafactor';
      decayRate: number;
      gradEpsilon: number;
      parameterEpsilon: number;
      clipThreshold: number;
      scaleParameter: boolean;
      weightDecay: number;
    };

export interface NativeTrainerOptions {
  optimizer: NativeOptimizer;
  trainable: 'all' | 'merge';
  /** Weight decay on merge weights (the paper's code decays them, `sound` does not). */
  decayMergeWeights: boolean;
  /** Clip the global norm of the gradient to this; 0: no clipping. */
  maxGradNorm: number;
  dropoutRate: number;
  seed: number;
  /** Of what dense products read. */
  computeDtype: 'float32' | 'bfloat16';
  activationCheckpointing: boolean;
  /** A model to learn from beside the labels: of the same vocabulary and device, and another one. */
  distillation?: { teacher: NativeModel; weight: number; temperature: number };
}

export interface NativeStepResult {
  /** Mean cross-entropy per counted label. */
  loss: number;
  /** Mean of temperature^2 * KL(teacher || model) per counted label; present iff distilling. */
  distillationLoss?: number;
  /** Global norm before clipping. */
  gradNorm: number;
  /** Encoder plus decoder tokens processed. */
  tokens: number;
  /** Seconds of the step, and of them inside dense products and attention. */
  seconds: number;
  denseSeconds: number;
  attentionSeconds: number;
  /** Activations and other working memory of the largest micro-batch, at their peak. */
  scratchBytes: number;
}

export interface NativeTrainer {
  /** One optimiser step over micro-batches; a failed or aborted step leaves everything as it was. */
  step(
    microBatches: NativeBatch[],
    learningRate: number,
    abort: NativeAbortFlag | undefined,
  ): Promise<NativeStepResult>;
  /** Gradient of the mean loss; no dropout, no clipping, nothing is updated. */
  gradients(
    microBatches: NativeBatch[],
    abort: NativeAbortFlag | undefined,
  ): Promise<{ name: string; shape: number[]; data: Float32Array }[]>;
  /** Optimiser state, e.g. "<parameter>.firstMoment", float32. */
  stateTensors(): Promise<{ name: string; shape: number[] }[]>;
  readState(name: string): Promise<Float32Array>;
  /** Copies `data` before it returns. */
  writeState(name: string, data: Float32Array): Promise<void>;
  /** Optimiser steps taken; dropout of a step depends on the seed and this number alone. */
  stepCount(): number;
  setStepCount(steps: number): void;
  dispose(): Promise<void>;
}

export interface NativeEngineOptions {
  blockTokens: number;
  /** Budget of the KV cache (self- and cross-attention together), in bytes. */
  maxCacheBytes: number;
  cacheDtype: CacheDtype;
  maxBatchSize: number;
  maxBatchTokens: number;
  /** Threads of the engine's parallel work, 0 for the model's number. */
  threads: number;
}

/** Hugging Face generation options, resolved: every field is set. */
export interface NativeGenerationOptions {
  maxNewTokens: number;
  minNewTokens: number;
  numBeams: number;
  numReturnSequences: number;
  lengthPenalty: number;
  earlyStopping: boolean | 'never';
  noRepeatNgramSize: number;
  repetitionPenalty: number;
  doSample: boolean;
  temperature: number;
  /** 0: off. */
  topK: number;
  /** 1: off. */
  topP: number;
  /** 0: off. */
  minP: number;
  seed: number;
  eosTokenIds: Int32Array;
  decoderStartTokenId: number;
  padTokenId: number;
  /** Keep the log-probability of each generated token. */
  logProbs: boolean;
  /** Keep as many of the most probable tokens at each place, too. */
  topLogProbs: number;
  /** From submission until no step is added; 0: none. */
  maxTimeMilliseconds: number;
  /** Without them all are off. */
  edits: NativeRowEdits | undefined;
}

/** Options of Hugging Face that few requests have; each can be off. */
export interface NativeRowEdits {
  /** sequence_bias: sequences, and the bias of each. */
  biased: NativeRagged;
  biases: Float32Array;
  /** 1: off. */
  encoderRepetitionPenalty: number;
  /** 0: off. */
  encoderNoRepeatNgramSize: number;
  badWords: NativeRagged;
  forcedBosTokenId: number | undefined;
  forcedEosTokenIds: Int32Array;
  removeInvalidValues: boolean;
  exponentialDecay: { start: number; factor: number } | undefined;
  suppressTokens: Int32Array;
  beginSuppressTokens: Int32Array;
  /** 1: off. */
  typicalP: number;
  /** 0: off. */
  epsilonCutoff: number;
  /** 0: off. */
  etaCutoff: number;
  renormalizeLogits: boolean;
}

export interface NativeGenerationRequest {
  inputIds: Int32Array;
  /** What the decoder is fed after the start token before it is free to choose. */
  forcedPrefix: Int32Array;
  options: NativeGenerationOptions;
  /** Stop strings; they need setTokenPieces. */
  stop: readonly string[];
  /** Look for stop strings in the text with special tokens. */
  keepsSpecialTokens: boolean;
  /** From submission; 0: none. */
  timeoutMilliseconds: number;
  /** Tell each token as it is chosen; not with beams. */
  reportTokens: boolean;
  /** Tell logits before tokens are chosen, and wait for answerLogits. */
  processesLogits: boolean;
}

export interface NativeGeneratedSequence {
  /** Without the start token; forced prefix, generated tokens, the end token if there is one. */
  tokenIds: Int32Array;
  /** Beam search: sum of log-probabilities / length^lengthPenalty. */
  score?: number;
  /** Of the generated tokens. */
  logProbs?: Float32Array;
  /** [generated tokens, topLogProbs], best first, if asked for; -1 where fewer have one. */
  topTokenIds?: Int32Array;
  topLogProbs?: Float32Array;
  finishReason: 'stop' | 'length' | 'time' | 'blocked';
}

/** One request's logits; it waits for them until answerLogits. */
export interface NativeLogitsEvent {
  request: number;
  /** Of each row, the tokens without the start token. */
  histories: Int32Array[];
  /** [rows, vocab] */
  logits: Float32Array;
}

/** A request's end: either sequences, or an error. */
export interface NativeFinishEvent {
  request: number;
  sequences?: NativeGeneratedSequence[];
  error?: Error;
  queueMilliseconds: number;
  firstTokenMilliseconds: number;
  totalMilliseconds: number;
  cachedPromptTokens: number;
  preemptions: number;
}

/** What happened since the last call, in this order. */
export interface NativeEngineEvents {
  /** Entry i of each array belongs to the i-th token. */
  tokens: {
    requests: Float64Array;
    sequences: Int32Array;
    tokenIds: Int32Array;
    logProbs: Float32Array;
    /** Of alternatives, which lie one after another. */
    alternativeCounts: Int32Array;
    topTokenIds: Int32Array;
    topLogProbs: Float32Array;
  };
  logits: NativeLogitsEvent[];
  finished: NativeFinishEvent[];
}

export interface NativeBlockCounts {
  free: number;
  cached: number;
  referenced: number;
  bytesPerBlock: number;
}

export interface NativePercentiles {
  p50: number;
  p90: number;
  p99: number;
  max: number;
}

/** As of the engine's last step. */
export interface NativeEngineStats {
  queued: number;
  encoding: number;
  running: number;
  held: number;
  completed: number;
  aborted: number;
  failed: number;
  preemptions: number;
  cacheBytes: number;
  maxCacheBytes: number;
  selfBytesPerToken: number;
  crossBytesPerToken: number;
  selfBlocks: NativeBlockCounts;
  crossBlocks: NativeBlockCounts;
  /** Tokens looked up in the prefix index, and found. */
  prefixTokens: number;
  prefixHits: number;
  /** Sources looked up, and found. */
  sources: number;
  sourceHits: number;
  encodedTokens: number;
  decodeSteps: number;
  decodedRows: number;
  generatedTokens: number;
  encodeSeconds: number;
  decodeSeconds: number;
  tokensPerSecond: number;
  stepMilliseconds: NativePercentiles;
  firstTokenMilliseconds: NativePercentiles;
  /** Bytes of weights read by decoding steps: what a bandwidth figure counts. */
  decodeWeightBytes: number;
}

/** Ids of requests are the caller's, integers that are never used twice. */
export interface NativeEngine {
  /** Every request that was taken ends with one NativeFinishEvent. */
  submit(id: number, request: NativeGenerationRequest): void;
  /** No effect once the request has ended, as below. */
  abort(id: number): void;
  setPaused(id: number, paused: boolean): void;
  answerLogits(id: number, logits: Float32Array): void;
  /** `offsets` [vocab + 1] into `bytes`: the text that each token adds, special ones or not. */
  setTokenPieces(
    bytes: Uint8Array,
    offsets: Uint32Array,
    stripsFirstSpace: boolean,
    keepsSpecialTokens: boolean,
  ): void;
  stats(): NativeEngineStats;
  /** Fails what is unfinished with DISPOSED, and waits for the engine's thread. Idempotent. */
  close(): Promise<void>;
}

/** `count` products of [batch, rows, depth] by [batch, depth, columns]. */
export interface NativeProduct {
  batch: number;
  rows: number;
  depth: number;
  columns: number;
  count: number;
}

export interface NativeMeasureOptions {
  /** 0: one per core. */
  threads: number;
  /** Runs after one that warms up. */
  repetitions: number;
}

export interface NativeStepTypes {
  dtype: ComputeDtype;
  cacheDtype: CacheDtype;
}

export interface NativeStepOptions {
  /** 0: one per core. */
  threads: number;
  /** Of a step, each a sequence of its own. */
  rows: number;
  /** That each row attends to, and that it holds itself. */
  sourceTokens: number;
  targetTokens: number;
  /** After which no round starts, once there were three. */
  seconds: number;
}

export interface NativeBinding {
  version: string;
  cpu(): {
    threads: number;
    /** The processor's own name of itself; empty where it tells none. */
    processor: string;
    /** The instruction set in force, which WGQA_ISA may lower. */
    isa: string;
    /** All that could be in force, in ascending order. */
    instructionSets: string[];
    bfloat16: boolean;
    /** Of the cache that all cores share; 0 where the system does not tell. */
    lastLevelCacheBytes: number;
  };
  /** Why no model can have device 'cuda'; undefined where one can. */
  whyNoCuda(): string | undefined;
  AbortFlag: new () => NativeAbortFlag;
  /** Aborts all work and waits for its threads. What is asked for later fails with DISPOSED. */
  close(): void;
  loadModel(
    config: NativeModelConfig,
    tensors: NativeTensorSource[],
    options: NativeModelOptions,
    abort: NativeAbortFlag | undefined,
    onProgress: ((done: number, total: number) => void) | undefined,
  ): Promise<NativeModel>;
  createModel(
    config: NativeModelConfig,
    seed: number,
    options: NativeModelOptions,
    abort: NativeAbortFlag | undefined,
  ): Promise<NativeModel>;
  /** Where a model of this type and head size would compute. UNSUPPORTED (field "device"). */
  resolveDevice(device: 'auto' | Device, dtype: ComputeDtype, headDim: number): Promise<Device>;
  createTrainer(model: NativeModel, options: NativeTrainerOptions): NativeTrainer;
  /** `onEvents` is called on the event loop and must not throw. */
  createEngine(
    model: NativeModel,
    options: NativeEngineOptions,
    onEvents: (events: NativeEngineEvents) => void,
  ): NativeEngine;
  /** Exchanges what two paths name in one step; 0, or the number of the operating system's error. */
  exchangePaths(first: string, second: string): Promise<number>;
  /** Seconds that the fastest of `repetitions` readings of so many bytes takes. */
  measureRead(bytes: number, options: NativeMeasureOptions): Promise<number>;
  /**
   * Seconds that oneDNN takes for all products. INVALID_ARGUMENT for float16; UNSUPPORTED where the
   * processor has none of the type.
   */
  measureProducts(
    products: readonly NativeProduct[],
    dtype: ComputeDtype,
    options: NativeMeasureOptions,
  ): Promise<number>;
  /**
   * Seconds of decoding steps on the CPU, of a model with made-up weights: for each of `types` one
   * per round, none where the processor has no such type. OUT_OF_MEMORY.
   */
  measureSteps(
    config: NativeModelConfig,
    types: readonly NativeStepTypes[],
    options: NativeStepOptions,
  ): Promise<number[][]>;
}
