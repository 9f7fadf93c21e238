export { checkDataset, evaluateExamples, evaluateLoss, meanLoss } from './evaluate.ts';
export { Trainer } from './trainer.ts';
export { TRAINER_PRESETS } from './presets.ts';
export type * from './types.ts';
