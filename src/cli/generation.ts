/** Hugging Face's generation options, in kebab-case. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type { GenerationOptions } from '../index.ts';
import { integerIn, numberIn } from '../options.ts';
import { numeric, pick } from './options.ts';

const KEYS = [
  'maxNewTokens',
  'minNewTokens',
  'numBeams',
  'numReturnSequences',
  'lengthPenalty',
  'earlyStopping',
  'noRepeatNgramSize',
  'repetitionPenalty',
  'doSample',
  'temperature',
  'topK',
  'topP',
  'minP',
  'seed',
  'forcedPrefix',
  'timeout',
  'stop',
  'logProbs',
] as const satisfies readonly (keyof GenerationOptions)[];

/** The generation options that were given. */
export function generationOptions(options: GenerationOptions): GenerationOptions {
  return pick(options, KEYS);
}

/** Adds the options that make sense wherever text is generated. */
export function addGenerationOptions(command: Command): Command {
  const positive = numeric(numberIn({ min: 0, exclusive: true }));
  return command
    .optionsGroup('Generation (defaults: generation_config.json, then those of Hugging Face):')
    .option('--max-new-tokens <n>', 'most tokens to generate', numeric(integerIn(1)))
    .option('--min-new-tokens <n>', 'no end token before this many', numeric(integerIn()))
    .option('--num-beams <n>', '1: no beam search', numeric(integerIn(1)))
    .option('--length-penalty <x>', 'scores are divided by length^x', numeric(numberIn()))
    .option('--early-stopping [never]', 'when beam search stops', parseEarlyStopping)
    .addOption(noRepeatNgramSize())
    .option('--repetition-penalty <x>', '1: off', positive)
    .option('--do-sample', 'sample instead of taking the best token')
    .option('--temperature <x>', 'of sampling', positive)
    .option('--top-k <n>', 'sample among this many best tokens; 0: off', numeric(integerIn()))
    .option(
      '--top-p <x>',
      'sample among the best tokens with this much probability',
      numeric(numberIn({ min: Number.MIN_VALUE, max: 1 })),
    )
    .option(
      '--min-p <x>',
      'drop tokens less probable than this part of the best',
      numeric(numberIn({ min: 0, max: 1 })),
    )
    .option('--seed <n>', 'seed of sampling', numeric(integerIn()));
}

function parseEarlyStopping(text: string): 'never' {
  if (text !== 'never') throw new InvalidArgumentError("It must be 'never', or nothing.");
  return text;
}

/** Commander takes a name that starts with "--no-" for the negation of another option. */
function noRepeatNgramSize(): Option {
  const option = new Option('--no-repeat-ngram-size <n>', 'no n-gram of this size twice; 0: off');
  option.negate = false;
  return option.argParser(numeric(integerIn()));
}
