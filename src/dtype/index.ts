export { chooseDtype, DEFAULT_EXPECTED_BATCH, type ChoiceRequest } from './choose.ts';
export { widestDtype } from './admitted.ts';
export type { Accuracy, DtypeChoice } from './types.ts';
