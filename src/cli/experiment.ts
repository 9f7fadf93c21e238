/** `wgqa experiment`: every variant of a plan, with statistics. */
import type { Command } from 'commander';
import {
  formatExperimentMarkdown,
  formatExperimentTable,
  readPlan,
  renderExperimentHtml,
  runExperiment,
  type ExperimentReport,
} from '../experiment/index.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import {
  addCommand,
  deviceOption,
  machineOptions,
  pick,
  threadsOption,
  type MachineOptions,
} from './options.ts';
import { createStageProgress, writeReports } from './stages.ts';
import { packageVersion } from './version.ts';

interface Options extends MachineOptions {
  readonly json?: boolean;
  readonly out: string;
  readonly reportOnly?: boolean;
}

export function addExperimentCommand(program: Command, context: CliContext): void {
  addCommand(
    program,
    'experiment <plan>',
    'Run what is missing of an experiment: each variant of the plan, with each seed, on each data\n' +
      'set; writes report.html, report.md and report.json. Killed or interrupted, it goes on where\n' +
      'it stopped when it is started again. experiments/README.md tells what a plan holds.',
    [
      'wgqa experiment experiments/debian.json --out results',
      'wgqa experiment experiments/debian.json --out results --report-only',
    ],
  )
    .optionsGroup('Run:')
    .option('--report-only', 'report on the runs that are finished, and run nothing')
    .addOption(deviceOption())
    .addOption(threadsOption())
    .optionsGroup('Files:')
    .requiredOption('--out <dir>', 'where the runs and the reports go')
    .action(async (plan: string, options: Options) => {
      await experiment(plan, options, context);
    });
}

async function experiment(planFile: string, options: Options, context: CliContext): Promise<void> {
  const report = await runWithProgress(planFile, options, context);
  const files = await writeReports(options.out, report, {
    html: renderExperimentHtml,
    markdown: formatExperimentMarkdown,
  });
  if (options.json) printJson(context, { files, report });
  else printLines(context, formatExperimentTable(report), '', `Report: ${files.html}`);
}

async function runWithProgress(
  planFile: string,
  options: Options,
  context: CliContext,
): Promise<ExperimentReport> {
  const plan = await readPlan(planFile);
  const progress = createStageProgress('experiment', context, options);
  try {
    return await runExperiment(plan, {
      ...pick(options, ['out', 'reportOnly']),
      ...machineOptions(options),
      version: packageVersion(),
      signal: context.signal,
      onProgress: progress.update,
    });
  } finally {
    progress.finish();
  }
}
