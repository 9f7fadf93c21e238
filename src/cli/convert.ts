/** `wgqa convert`: group a multi-head model's K/V heads. */
import { Option, type Command } from 'commander';
import {
  allocateKvHeads,
  createDataset,
  evaluateLoss,
  loadModel,
  loadTokenizer,
  PRESETS,
  tokenizePairs,
  type ConvertOptions,
  type Dataset,
  type Model,
} from '../index.ts';
import { formatBytes, formatFixed, formatInteger } from '../report/format.ts';
import { integerIn } from '../options.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { describeGrouping, headsOf, MODULES, sizesOf } from './describe.ts';
import { prepareDirectory } from './files.ts';
import {
  addCommand,
  addStorageOptions,
  deviceOption,
  listOf,
  machineOptions,
  numeric,
  pick,
  threadsOption,
  type MachineOptions,
  type StorageOptions,
} from './options.ts';
import { addPairOptions, readAllPairs, type PairOptions } from './pairs.ts';
import { createProgress } from './progress.ts';

interface Options
  extends
    StorageOptions,
    PairOptions,
    MachineOptions,
    Omit<ConvertOptions, 'kvHeads' | 'calibration'> {
  readonly json?: boolean;
  readonly kvHeads?: number;
  readonly calibration?: readonly string[];
  readonly calibrationPairs: number;
  readonly kvBytes?: number;
  readonly sourceTokens?: number;
  readonly targetTokens?: number;
}

/** Pairs that are calibrated with together. */
const BATCH_SIZE = 16;

export function addConvertCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'convert <model> <out>',
    'Convert a multi-head model to MQA, GQA or a weighted variant.',
    [
      'wgqa convert t5-base t5-base-gqa3 --kv-heads 3',
      'wgqa convert t5-base t5-base-wgqa --preset WGQA',
      'wgqa convert t5-base t5-base-wgqa3 --kv-heads 3 --merge weighted --granularity column',
      'wgqa convert t5-base t5-base-gqa --preset GQA --layout expanded --dtype bfloat16',
      'wgqa convert t5-base aligned --preset WGQA --grouping similarity --alignment orthogonal \\\n' +
        '      --init least-squares --calibration train.jsonl',
      'wgqa convert t5-base budget --kv-bytes 73728 --calibration train.jsonl',
    ],
  );
  addMergeOptions(command);
  addPreparationOptions(command);
  addPairOptions(command);
  command.optionsGroup('Computation:').addOption(deviceOption()).addOption(threadsOption());
  addStorageOptions(command).action(async (source: string, out: string, options: Options) => {
    if (options.kvBytes !== undefined) checkBudget(command, options);
    else checkHeads(command, options);
    await convert(source, out, options, context);
  });
}

/** What a conversion without a budget needs, and cannot use. */
function checkHeads(command: Command, options: Options): void {
  const { kvHeads, preset, init, calibration, sourceTokens, targetTokens } = options;
  if (kvHeads === undefined && preset === undefined) {
    command.error('error: give --kv-heads, --preset or --kv-bytes: how many K/V heads to keep');
  }
  if (init === 'least-squares' && calibration === undefined) {
    command.error('error: --init least-squares needs --calibration, the text to fit weights to');
  }
  if (sourceTokens !== undefined) command.error('error: --source-tokens needs --kv-bytes');
  if (targetTokens !== undefined) command.error('error: --target-tokens needs --kv-bytes');
}

/** What a conversion would refuse only after all losses are measured. */
function checkBudget(command: Command, { calibration, grouping }: Options): void {
  if (calibration === undefined) {
    command.error('error: --kv-bytes needs --calibration, the text to measure losses on');
  }
  if (grouping === 'similarity') {
    command.error('error: --kv-bytes cannot be used with --grouping similarity');
  }
}

function addMergeOptions(command: Command): void {
  command
    .optionsGroup(
      'Conversion (--kv-heads alone aligns and pools; with --preset or --merge, as in the paper):',
    )
    .addOption(
      new Option(
        '--preset <name>',
        'a row of Table 1 of arXiv 2407.10855; the options below override it',
      ).choices(Object.keys(PRESETS)),
    )
    .option('--kv-heads <n>', 'K/V heads to keep, a divisor of the heads', numeric(integerIn(1)))
    .addOption(
      choice('--merge <how>', 'pool the heads of a group, or learn how to (default: mean)', MERGES),
    )
    .addOption(
      choice(
        '--granularity <unit>',
        'one merge weight per head, or per row or column of it (default: head)',
        ['head', 'row', 'column'],
      ),
    )
    .addOption(
      choice(
        '--init <how>',
        'start of merge weights; least-squares needs --calibration (default: mean)',
        ['mean', 'random', 'least-squares'],
      ),
    )
    .addOption(
      choice(
        '--constraint <kind>',
        'softmax: positive weights that sum to one; signed: magnitudes that do (default: none)',
        ['none', 'softmax', 'signed'],
      ),
    )
    .option(
      '--expansion',
      'let query heads scale the channels of what they read, by learned weights',
    )
    .option('--seed <n>', 'seed of random merge weights (default: 0)', numeric(integerIn()))
    .option(
      '--modules <list>',
      `of ${MODULES.join(',')} (default: decoder.self,decoder.cross)`,
      listOf(MODULES),
    );
}

const MERGES = ['mean', 'weighted'] as const;

function choice(flags: string, description: string, choices: readonly string[]): Option {
  return new Option(flags, description).choices(choices);
}

function addPreparationOptions(command: Command): void {
  command
    .optionsGroup('Preparation:')
    .addOption(
      choice('--grouping <how>', 'which heads share: neighbours, or the most alike', [
        'neighbouring',
        'similarity',
      ]),
    )
    .addOption(
      choice(
        '--alignment <how>',
        'turn the heads of a group towards each other before the merge\n' +
          '(default: none with --preset or --merge, else orthogonal)',
        ['none', 'orthogonal'],
      ),
    )
    .option('--calibration <file...>', 'text pairs to weigh heads by')
    .option('--calibration-pairs <n>', 'how many of them at most', numeric(integerIn(1)), 256)
    .addOption(
      new Option(
        '--kv-bytes <n>',
        'choose the K/V heads of each decoder layer so that K and V of one sequence take at most so\n' +
          'many bytes in float32, where --calibration loses least',
      )
        .argParser(numeric(integerIn(1)))
        .conflicts(['kvHeads', 'modules']),
    )
    .option('--source-tokens <n>', 'of that sequence (default: 1)', numeric(integerIn(1)))
    .option('--target-tokens <n>', 'of that sequence (default: 1)', numeric(integerIn(1)));
}

async function convert(
  source: string,
  out: string,
  options: Options,
  context: CliContext,
): Promise<void> {
  const { signal } = context;
  await prepareDirectory(out, options.force);
  const calibration = options.calibration && (await readCalibration(source, options, signal));
  await using model = await loadModel(source, { ...machineOptions(options), signal });
  const budget = calibration && (await kvHeadsWithin(model, calibration, options, context));
  await using converted = await model.convert(
    {
      ...conversionOf(options),
      ...(budget && { kvHeads: budget.kvHeads }),
      ...(calibration && { calibration: calibration.batches(0) }),
    },
    { signal },
  );
  const lossAfter = budget && (await evaluateLoss(converted, calibration, { signal })).loss;
  await converted.save(out, { ...pick(options, ['dtype', 'layout']), signal });
  report(converted, budget && { ...budget, lossAfter }, { out, ...options }, context);
}

async function readCalibration(
  directory: string,
  options: Options,
  signal: AbortSignal,
): Promise<Dataset> {
  const pairs = [];
  const files = options.calibration ?? [];
  for await (const pair of readAllPairs(files, options, options.calibrationPairs)) pairs.push(pair);
  const limits = pick(options, ['maxSourceTokens', 'maxTargetTokens']);
  const tokenizer = await loadTokenizer(directory);
  const examples = await tokenizePairs(pairs, tokenizer, { ...limits, signal });
  return createDataset(examples, { batchSize: BATCH_SIZE });
}

type Budget = Awaited<ReturnType<typeof allocateKvHeads>>;

/** Undefined without a budget. */
async function kvHeadsWithin(
  model: Model,
  calibration: Dataset,
  options: Options,
  { stderr, signal }: CliContext,
): Promise<Budget | undefined> {
  const { kvBytes: maxBytes, json = false } = options;
  if (maxBytes === undefined) return undefined;
  let progress: ReturnType<typeof createProgress> | undefined;
  try {
    return await allocateKvHeads(model, {
      ...pick(options, ['sourceTokens', 'targetTokens']),
      alignment: alignmentOf(options),
      maxBytes,
      calibration,
      signal,
      onProgress: (step, total) => {
        progress ??= createProgress({ label: 'measure', total, stream: stderr, json });
        progress.update({ step });
      },
    });
  } finally {
    progress?.finish();
  }
}

/** As the conversion that follows has it. */
function alignmentOf({ alignment, merge, preset }: Options): 'none' | 'orthogonal' {
  return alignment ?? (merge === undefined && preset === undefined ? 'orthogonal' : 'none');
}

function report(
  converted: Model,
  budget: (Budget & { readonly lossAfter: number | undefined }) | undefined,
  { out, json }: Pick<Options, 'json'> & { readonly out: string },
  context: CliContext,
): void {
  const { parameters } = sizesOf(converted);
  const { config } = converted;
  if (json) {
    const conversion = config.wgqa ?? null;
    printJson(context, { out, conversion, modules: headsOf(config), parameters, budget });
    return;
  }
  const { total, merge } = parameters;
  const within =
    budget &&
    `K and V take ${formatBytes(budget.bytes)}; the loss on the calibration text was ` +
      `${formatFixed(budget.loss, 4)} before the conversion and is ` +
      `${formatFixed(budget.lossAfter ?? NaN, 4)} after it`;
  printLines(
    context,
    `${out}: ${describeGrouping(config)}`,
    `${formatInteger(total)} parameters, ${formatInteger(merge)} of them merge or expansion weights`,
    ...(within ? [within] : []),
  );
}

function conversionOf(options: Options): ConvertOptions {
  return pick(options, [
    'preset',
    'kvHeads',
    'merge',
    'granularity',
    'init',
    'constraint',
    'grouping',
    'alignment',
    'expansion',
    'seed',
    'modules',
  ]);
}
