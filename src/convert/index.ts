export { PRESETS, type Preset, type PresetName } from './presets.ts';
export {
  convertedConfig,
  foldedConfig,
  resolveConvertOptions,
  toNativeConversion,
  type CalibrationBatch,
  type ConvertOptions,
  type ResolvedConversion,
} from './options.ts';
