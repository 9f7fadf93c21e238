export { PRESETS, type Preset, type PresetName } from './presets.ts';
export {
  convertedConfig,
  foldedConfig,
  resolveConvertOptions,
  type ConvertOptions,
} from './options.ts';
