export { createModel, loadModel } from './load.ts';
export { chooseDtype } from './compute-dtype.ts';
export { implementationOf, type T5Model } from './t5-model.ts';
export { abortable, abortError, onAbort, throwIfAborted } from './abort.ts';
export {
  countLabels,
  IGNORED_LABEL,
  prepareBatch,
  readMaskRow,
  readTokenRow,
  toNativeBatch,
  type BatchRow,
} from './batch.ts';
export type * from './types.ts';
