/** What a base model can be trained for: its text, and how it is trained on it. */
import type { TextPair, TokenizeOptions, TrainerOptions } from '../../src/index.ts';

type Limits = Required<Pick<TokenizeOptions, 'maxSourceTokens' | 'maxTargetTokens'>>;

export interface BaseModelTask {
  /** Where fetch-debian-data.ts put its pairs, and train-tokenizer.ts its files. */
  readonly data: string;
  readonly out: string;
  readonly steps: number;
  readonly batchSize: number;
  readonly limits: Limits;
  /** A second example from each training pair, where it has one to give. */
  readonly auxiliary: {
    readonly pairOf: (pair: TextPair) => TextPair | undefined;
    readonly limits: Limits;
  };
  readonly training: Pick<TrainerOptions, 'dropout' | 'computeDtype'>;
}

const LONGEST_COPY = 60; // characters

export const TASKS: Readonly<Record<string, BaseModelTask>> = {
  summarize: {
    data: 'data/debian/summarize',
    out: 'demo/model',
    steps: 4000,
    batchSize: 32,
    limits: { maxSourceTokens: 128, maxTargetTokens: 32 },
    auxiliary: {
      pairOf: continuation,
      limits: { maxSourceTokens: 64, maxTargetTokens: 48 },
    },
    // Fewer than three passes over the data: there is nothing to regularise.
    training: { dropout: 0, computeDtype: 'float32' },
  },
  translate: {
    data: 'data/debian/translate',
    out: 'experiments/models/debian-translate',
    steps: 12_000,
    batchSize: 32,
    limits: { maxSourceTokens: 96, maxTargetTokens: 96 },
    auxiliary: {
      pairOf: copyOfShort,
      limits: { maxSourceTokens: 64, maxTargetTokens: 64 },
    },
    training: { dropout: 0.1, computeDtype: 'bfloat16' },
  },
};

/**
 * The second half of a description given the first: the prefix language modelling of Raffel et al.
 * (2020, section 3.2.2), since a synopsis alone is little to learn a language from.
 */
function continuation({ source }: TextPair): TextPair | undefined {
  const words = source.slice('summarize: '.length).split(' ');
  const middle = words.length >> 1;
  if (middle === 0) return undefined;
  return {
    source: `continue: ${words.slice(0, middle).join(' ')}`,
    target: words.slice(middle).join(' '),
  };
}

/**
 * A short German text as it is (Currey et al. 2017): names are copied in translations, too. Short
 * ones alone, to leave the time to translation.
 */
function copyOfShort({ target }: TextPair): TextPair | undefined {
  return target.length <= LONGEST_COPY ? { source: `copy: ${target}`, target } : undefined;
}
