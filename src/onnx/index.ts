export { exportOnnx, type ExportOnnxOptions, type ExportOnnxResult } from './export.ts';
