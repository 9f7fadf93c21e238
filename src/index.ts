/** The public API of the package; nothing else may be imported from outside. */
export { WgqaError, ERROR_CODES, type ErrorCode, type WgqaErrorDetails } from './errors.ts';
export { chooseDtype, createModel, loadModel } from './model/index.ts';
export type {
  Accuracy,
  AttentionModule,
  ChooseDtypeOptions,
  ComputeDtype,
  ConversionConfig,
  CreateModelOptions,
  Device,
  DtypeChoice,
  FloatDtype,
  ForwardInput,
  ForwardResult,
  LoadModelOptions,
  MergeGranularity,
  Model,
  ModelConfig,
  ParameterInfo,
  SaveOptions,
  Tensor,
  TokenRow,
  TokenRows,
} from './model/index.ts';
export { kvHeadsInLayers, kvHeadsOf, type KvHeads } from './checkpoint/grouping.ts';
export { isConversionWeight } from './checkpoint/t5-tensors.ts';
export {
  PRESETS,
  type CalibrationBatch,
  type ConvertOptions,
  type Preset,
  type PresetName,
} from './convert/index.ts';
export { resolveModel, type ResolveModelOptions } from './hub/index.ts';
export { loadTokenizer } from './tokenizer/index.ts';
export type {
  DecodeOptions,
  EncodeOptions,
  TextStream,
  TokenPieces,
  Tokenizer,
} from './tokenizer/index.ts';
export {
  createDataset,
  loadDataset,
  readPairs,
  tokenizePairs,
  type Batch,
  type BatchingOptions,
  type Dataset,
  type Example,
  type LoadDatasetOptions,
  type PairFormat,
  type ReadPairsOptions,
  type TextPair,
  type TokenEncoder,
  type TokenizeOptions,
} from './data/index.ts';
export {
  computeBleu,
  computeRouge,
  computeSentenceBleu,
  type BleuOptions,
  type BleuResult,
  type BleuSmoothing,
  type BleuTokenizer,
  type References,
  type RougeOptions,
  type RougeResult,
  type RougeScore,
  type RougeType,
} from './metrics/index.ts';
export {
  allocateKvHeads,
  type AllocateOptions,
  type KvHeadAllocation,
  type Sensitivity,
} from './budget/index.ts';
export {
  evaluateExamples,
  evaluateLoss,
  meanLoss,
  Trainer,
  TRAINER_PRESETS,
} from './train/index.ts';
export type * from './train/index.ts';
export { Engine } from './decode/index.ts';
export type * from './decode/index.ts';
export { exportOnnx, loadOnnx, OnnxEngine } from './onnx/index.ts';
export type * from './onnx/index.ts';
