/** `wgqa experiment`: every variant of a plan, with statistics. */
import path from 'node:path';
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
import { writeFiles } from './files.ts';
import { addCommand, pick, threadsOption } from './options.ts';
import { createProgress, type Progress } from './progress.ts';
import { packageVersion } from './version.ts';

interface Options {
  readonly json?: boolean;
  readonly out: string;
  readonly reportOnly?: boolean;
  readonly threads?: number;
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
    .addOption(threadsOption())
    .optionsGroup('Files:')
    .requiredOption('--out <dir>', 'where the runs and the reports go')
    .action(async (plan: string, options: Options) => {
      await experiment(plan, options, context);
    });
}

async function experiment(planFile: string, options: Options, context: CliContext): Promise<void> {
  const report = await runWithProgress(planFile, options, context);
  const files = {
    html: path.join(options.out, 'report.html'),
    markdown: path.join(options.out, 'report.md'),
    json: path.join(options.out, 'report.json'),
  };
  await writeFiles({
    [files.html]: renderExperimentHtml(report),
    [files.markdown]: formatExperimentMarkdown(report),
    [files.json]: `${JSON.stringify(report, null, 2)}\n`,
  });
  if (options.json) printJson(context, { files, report });
  else printLines(context, formatExperimentTable(report), '', `Report: ${files.html}`);
}

async function runWithProgress(
  planFile: string,
  options: Options,
  { stderr, signal }: CliContext,
): Promise<ExperimentReport> {
  const plan = await readPlan(planFile);
  let progress: Progress | undefined;
  let stage = '';
  try {
    return await runExperiment(plan, {
      ...pick(options, ['out', 'reportOnly', 'threads']),
      version: packageVersion(),
      signal,
      onProgress: ({ done, total, stage: label, loss }) => {
        progress ??= createProgress({
          label: 'experiment',
          total,
          stream: stderr,
          json: options.json === true,
        });
        if (label !== stage && stderr.isTTY !== true) progress.log(label);
        stage = label;
        progress.update({ step: done, label, ...(loss !== undefined && { loss }) });
      },
    });
  } finally {
    progress?.finish();
  }
}
