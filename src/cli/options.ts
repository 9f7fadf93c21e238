/** Options that several commands share, and parsers of their values. */
import { InvalidArgumentError, Option, type Command } from 'commander';
import type {
  Accuracy,
  CacheDtype,
  ComputeDtype,
  Device,
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

/** An option with a list of words, which its help shows as it is written. */
export function listOption<const T extends string>(
  flags: string,
  allowed: readonly T[],
  standard: readonly T[],
): Option {
  return new Option(flags, `of ${allowed.join(', ')}`)
    .argParser(listOf(allowed))
    .default(standard, standard.join(','));
}

/** Adds a command with `--json`, unless that makes no sense; the first sentence of its description is its summary. */
export function addCommand(
  program: Command,
  usage: string,
  description: string,
  examples: readonly string[],
  { json = true }: { readonly json?: boolean } = {},
): Command {
  const lines = examples.map((example) => `  $ ${example}`);
  const command = program
    .command(usage)
    .description(description)
    .summary(description.replace(/\.\s[^]*/, '.').replace('\n', ' '));
  if (json) command.option('--json', 'print the result as JSON and no progress');
  return command.addHelpText('after', `\nExamples:\n${lines.join('\n')}`);
}

/** Where a model runs, and on how many threads. */
export interface MachineOptions {
  readonly device?: 'auto' | Device;
  readonly threads?: number;
}

export interface ComputeOptions extends MachineOptions {
  readonly dtype: ComputeDtype | 'auto';
  readonly accuracy?: Accuracy;
  readonly expectedBatch?: number;
  readonly cacheDtype?: CacheDtype;
  readonly cacheBytes?: number;
  readonly blockSize?: number;
}

export function deviceOption(): Option {
  return new Option(
    '--device <device>',
    'where to compute; auto: on a GPU that can run the model, else on the CPU (default: auto)',
  ).choices(['auto', 'cpu', 'cuda']);
}

export function threadsOption(): Option {
  return new Option('--threads <n>', 'threads (default: one per core)').argParser(
    numeric(integerIn(1, 1024)),
  );
}

/** Of `--device` and `--threads`, those that were given. */
export function machineOptions(options: MachineOptions): MachineOptions {
  return pick(options, ['device', 'threads']);
}

/** What commands that generate text take, besides where they run: types, and the K/V cache. */
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
    .option(
      '--cache-bytes <n>',
      'budget of the K/V cache (default: 256 MiB, on a GPU 4 GiB)',
      numeric(integerIn(1)),
    )
    .option(
      '--block-size <n>',
      'tokens of a block of the cache (default: 16, on a GPU 64)',
      numeric(integerIn(1, 4096)),
    )
    .addOption(deviceOption())
    .addOption(threadsOption());
}

/** What `loadModel` takes of them. */
export function modelOptions(options: ComputeOptions): LoadModelOptions {
  return pick(options, ['dtype', 'accuracy', 'expectedBatch', 'device', 'threads']);
}

/** What `--dtype auto` chose, as a line for people; nothing where a type was given. */
export function dtypeLines({ dtype, dtypeChoice }: Model): string[] {
  return dtypeChoice === undefined ? [] : [`computing in ${dtype}: ${dtypeChoice.reason}`];
}

/** The engine's options of `--cache-dtype`, `--cache-bytes` and `--block-size`. */
export function cacheOptions(options: ComputeOptions): Pick<EngineOptions, 'kvCache'> {
  const { cacheDtype: dtype, cacheBytes: maxBytes, blockSize } = options;
  return {
    kvCache: {
      ...(dtype !== undefined && { dtype }),
      ...(maxBytes !== undefined && { maxBytes }),
      ...(blockSize !== undefined && { blockSize }),
    },
  };
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
        "type of the stored weights (default: the checkpoint's); merge weights are always float32",
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
