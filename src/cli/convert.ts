/** `wgqa convert`: group a multi-head model's K/V heads. */
import { Option, type Command } from 'commander';
import {
  loadModel,
  PRESETS,
  type AttentionModule,
  type ConvertOptions,
  type MergeGranularity,
  type PresetName,
} from '../index.ts';
import { formatInteger } from '../report/format.ts';
import { integerIn } from '../options.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { describeGrouping, headsOf, MODULES, sizesOf } from './describe.ts';
import { prepareDirectory } from './files.ts';
import {
  addCommand,
  addStorageOptions,
  listOf,
  numeric,
  pick,
  type StorageOptions,
} from './options.ts';

interface Options extends StorageOptions {
  readonly json?: boolean;
  readonly preset?: PresetName;
  readonly kvHeads?: number;
  readonly merge?: 'mean' | 'weighted';
  readonly granularity?: MergeGranularity;
  readonly init?: 'mean' | 'random';
  readonly seed?: number;
  readonly modules?: readonly AttentionModule[];
}

export function addConvertCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'convert <model> <out>',
    'Convert a multi-head model to MQA, GQA or a weighted variant.',
    [
      'wgqa convert t5-base t5-base-wgqa --preset WGQA',
      'wgqa convert t5-base t5-base-wgqa3 --kv-heads 3 --merge weighted --granularity column',
      'wgqa convert t5-base t5-base-gqa --preset GQA --layout expanded --dtype bfloat16',
    ],
  )
    .optionsGroup('Conversion (a preset, or --kv-heads and --merge):')
    .addOption(
      new Option(
        '--preset <name>',
        'a row of Table 1 of arXiv 2407.10855; the options below override it',
      ).choices(Object.keys(PRESETS)),
    )
    .option('--kv-heads <n>', 'K/V heads to keep, a divisor of the heads', numeric(integerIn(1)))
    .addOption(
      new Option('--merge <how>', 'pool the heads of a group, or learn how to').choices([
        'mean',
        'weighted',
      ]),
    )
    .addOption(
      new Option(
        '--granularity <unit>',
        'one merge weight per head, or per row or column of it (default: head)',
      ).choices(['head', 'row', 'column']),
    )
    .addOption(
      new Option(
        '--init <how>',
        'start merge weights at the mean or at random (default: mean)',
      ).choices(['mean', 'random']),
    )
    .option('--seed <n>', 'seed of random merge weights (default: 0)', numeric(integerIn()))
    .option(
      '--modules <list>',
      `of ${MODULES.join(',')} (default: decoder.self,decoder.cross)`,
      listOf(MODULES),
    );
  addStorageOptions(command).action(async (source: string, out: string, options: Options) => {
    await convert(source, out, options, context);
  });
}

async function convert(
  source: string,
  out: string,
  { json, force, ...options }: Options,
  context: CliContext,
): Promise<void> {
  await prepareDirectory(out, force);
  await using model = await loadModel(source, { signal: context.signal });
  await using converted = await model.convert(conversionOf(options));
  await converted.save(out, pick(options, ['dtype', 'layout']));
  const { parameters } = sizesOf(converted);
  const { config } = converted;
  if (json) {
    const conversion = config.wgqa ?? null;
    printJson(context, { out, conversion, modules: headsOf(config), parameters });
    return;
  }
  const { total, merge } = parameters;
  printLines(
    context,
    `${out}: ${describeGrouping(config)}`,
    `${formatInteger(total)} parameters, ${formatInteger(merge)} of them merge weights`,
  );
}

function conversionOf(options: Omit<Options, 'json' | 'force'>): ConvertOptions {
  const keys = ['preset', 'kvHeads', 'merge', 'granularity', 'init', 'seed', 'modules'] as const;
  return pick(options, keys);
}
