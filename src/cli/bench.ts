/** `wgqa bench`: how fast a model runs here, as shares of what the machine can do. */
import { Option, type Command } from 'commander';
import { describeDevice } from '../bench/device.ts';
import { share } from '../bench/measurement.ts';
import { SHAPE_NAMES, type ShapeName } from '../bench/shapes.ts';
import { runSuite, SUITE_CASES, type Subject, type SuiteCase } from '../bench/suite.ts';
import { formatBenchmark } from '../bench/table.ts';
import { COMPUTE_DTYPES } from '../bench/variants.ts';
import type { ComputeDtype, Device } from '../index.ts';
import { integerIn } from '../options.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import { addCommand, deviceOption, listOption, numeric, pick } from './options.ts';

interface Options {
  readonly json?: boolean;
  readonly shape?: ShapeName;
  readonly device?: 'auto' | Device;
  readonly cases: readonly SuiteCase[];
  readonly dtype: readonly ComputeDtype[];
  readonly batch: readonly number[];
  readonly sourceTokens: number;
  readonly quick: boolean;
}

const parseBatch = numeric(integerIn(1, 1024));

export function addBenchCommand(program: Command, context: CliContext): void {
  const command = addCommand(
    program,
    'bench [model]',
    'Measure how fast a model runs on this machine.\n' +
      'Each figure is a share of what the machine can do, measured in turn with it: the rate at\n' +
      'which it reads memory, and that of oneDNN products.',
    [
      'wgqa bench t5-base-gqa3 --dtype bfloat16',
      'wgqa bench --shape t5-small --cases decode,training --quick',
    ],
  );
  command
    .addOption(
      new Option('--shape <name>', 'random weights of a published shape').choices(SHAPE_NAMES),
    )
    .addOption(listOption('--cases <list>', SUITE_CASES, SUITE_CASES))
    .addOption(listOption('--dtype <list>', COMPUTE_DTYPES, COMPUTE_DTYPES))
    .addOption(
      new Option('--batch <list>', 'sequences at once')
        .argParser((text) => text.split(',').map(parseBatch))
        .default([1, 8], '1,8'),
    )
    .addOption(deviceOption())
    .option('--source-tokens <n>', 'of each sequence', numeric(integerIn(1, 1 << 16)), 128)
    .option('--quick', 'fewer repetitions', false)
    .action(async (model: string | undefined, options: Options) => {
      await bench(subjectOf(command, model, options), options, context);
    });
}

function subjectOf(command: Command, model: string | undefined, { shape }: Options): Subject {
  if (model !== undefined && shape === undefined) return { directory: model };
  if (model === undefined && shape !== undefined) return { shape };
  return command.error('error: give either a model or --shape');
}

async function bench(subject: Subject, options: Options, context: CliContext): Promise<void> {
  const { json, cases, dtype: dtypes, batch: batches, sourceTokens, quick } = options;
  const { signal, stderr } = context;
  const onProgress = (text: string): void => {
    if (!json) stderr.write(`${text}\n`);
  };
  const benchmark = await runSuite({
    subject,
    cases,
    dtypes,
    batches,
    sourceTokens,
    quick,
    ...pick(options, ['device']),
    onProgress,
    signal,
  });
  const measurements = benchmark.measurements.map((one) => ({ ...one, share: share(one) }));
  if (json) printJson(context, { ...benchmark, measurements, device: describeDevice() });
  else printLines(context, formatBenchmark(benchmark));
}
