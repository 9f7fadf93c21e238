/** Options that several commands share, and parsers of their values. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type {
  Accuracy,
  CacheDtype,
  ComputeDtype,
  EngineOptions,
  FloatDtype,
  LoadModelOptions,
  Model,
} from '../index.ts';
import { integerIn, type Rule } from '../options.ts';

/** A parser for numbers that satisfy `rule`; anything else is bad usage. */
export function numeric(rule: Rule<number>): (text: string) => number {
  return (text) => {
    const value = text.trim() === '' ? NaN : Number(text);
    if (!rule.accepts(value)) throw new InvalidArgumentError(`It must be ${rule.allowed}.`);
    return value;
  };
}

/** A parser for lists of `allowed` words, separated by commas. */
export function listOf<const T extends string>(
  allowed: readonly T[],
): (text: string) => readonly T[] {
  return (text) =>
    text.split(',').map((word) => {
      const found = allowed.find((item) => item === word.trim());
      if (found !== undefined) return found;
      throw new InvalidArgumentError(`Each item must be one of ${allowed.join(', ')}.`);
    });
}

/** The properties of `options` in `keys` that were given. */
export function pick<T extends object, K extends keyof T>(
  options: T,
  keys: readonly K[],
): Pick<T, K> {
  const present = keys.filter((key) => options[key] !== undefined);
  return Object.fromEntries(present.map((key) => [key, options[key]])) as Pick<T, K>;
}

/** Adds a command with `--json`; the first sentence of its description is its summary. */
export function addCommand(
  program: Command,
  usage: string,
  description: string,
  examples: readonly string[],
): Command {
  const lines = examples.map((example) => `  $ ${example}`);
  return program
    .command(usage)
    .description(description)
    .summary(description.replace(/\.\s[^]*/, '.').replace('\n', ' '))
    .option('--json', 'print the result as JSON and no progress')
    .addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

export interface ComputeOptions {
  readonly dtype: ComputeDtype | 'auto';
  readonly accuracy?: Accuracy;
  readonly expectedBatch?: number;
  readonly cacheDtype?: CacheDtype;
  readonly threads?: number;
}

/** `--dtype` and what goes with it, `--cache-dtype` and `--threads` of commands that only run a model. */
export function addComputeOptions(command: Command): Command {
  return command
    .optionsGroup('Computation:')
    .addOption(
      new Option(
        '--dtype <type>',
        'type to compute with; float16: on a GPU alone; auto: the fastest here that --accuracy admits',
      )
        .choices(['float32', 'float16', 'bfloat16', 'int8', 'auto'])
        .default('float32'),
    )
    .addOption(
      new Option(
        '--accuracy <type>',
        "with --dtype auto: the least exact type it may take (default: as exact as the file's)",
      ).choices(['float32', 'bfloat16', 'int8']),
    )
    .addOption(
      new Option(
        '--expected-batch <n>',
        'with --dtype auto: sequences at once to be fastest for (default: 8)',
      ).argParser(numeric(integerIn(1, 1024))),
    )
    .addOption(
      new Option(
        '--cache-dtype <type>',
        'type of the K/V cache (default: as --dtype, bfloat16 for int8)',
      ).choices(['float32', 'float16', 'bfloat16', 'int8']),
    )
    .addOption(threadsOption());
}

/** What `loadModel` takes of them. */
export function modelOptions(options: ComputeOptions): LoadModelOptions {
  return pick(options, ['dtype', 'accuracy', 'expectedBatch', 'threads']);
}

/** What `--dtype auto` chose, as a line for people; nothing where a type was given. */
export function dtypeLines({ dtype, dtypeChoice }: Model): string[] {
  return dtypeChoice === undefined ? [] : [`computing in ${dtype}: ${dtypeChoice.reason}`];
}

/** The engine's options of `--cache-dtype`. */
export function cacheOptions({ cacheDtype }: ComputeOptions): Pick<EngineOptions, 'kvCache'> {
  return cacheDtype === undefined ? {} : { kvCache: { dtype: cacheDtype } };
}

export function threadsOption(): Option {
  return new Option('--threads <n>', 'threads (default: one per core)').argParser(
    numeric(integerIn(1, 1024)),
  );
}

export interface StorageOptions {
  readonly dtype?: FloatDtype;
  readonly layout: 'grouped' | 'expanded';
  readonly force?: boolean;
}

/** `--dtype`, `--layout` and `--force` of commands that write a model. */
export function addStorageOptions(command: Command): Command {
  return command
    .optionsGroup('Output:')
    .addOption(
      new Option(
        '--dtype <type>',
        'type of the stored weights (default: as in memory); merge weights are always float32',
      ).choices(['float32', 'float16', 'bfloat16']),
    )
    .addOption(
      new Option(
        '--layout <layout>',
        'grouped: the K/V heads there are; expanded: repeated to all heads, as stock ' +
          'Hugging Face code expects them',
      )
        .choices(['grouped', 'expanded'])
        .default('grouped'),
    )
    .option('--force', 'write into a directory that is not empty');
}
