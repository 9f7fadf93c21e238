export { exportOnnx, type ExportOnnxOptions, type ExportOnnxResult } from './export.ts';
export { OnnxEngine } from './engine.ts';
export { loadOnnx } from './load.ts';
export type * from './types.ts';
