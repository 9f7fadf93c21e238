export {
  BLEU_SMOOTHINGS,
  BLEU_TOKENIZERS,
  type BleuOptions,
  type BleuResult,
  type BleuSmoothing,
  type BleuStatistics,
  type BleuTokenizer,
  SACREBLEU_VERSION,
  computeBleu,
  computeSentenceBleu,
  scoreBleuStatistics,
} from './bleu.ts';
export type { References } from './checks.ts';
export {
  type RougeOptions,
  type RougeResult,
  type RougeScore,
  type RougeType,
  computeRouge,
} from './rouge.ts';
