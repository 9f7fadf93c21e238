/** `wgqa demo`: every variant of the demo's model, compared. */
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { PRESETS, type PresetName } from '../index.ts';
import { DEFAULT_PLAN, QUICK_PLAN, runDemo, type DemoPlan } from '../demo/index.ts';
import { integerIn, numberIn } from '../options.ts';
import {
  formatReportMarkdown,
  formatReportTable,
  renderHtmlReport,
  type DemoReport,
} from '../report/index.ts';
import { printJson, printLines, type CliContext } from './context.ts';
import {
  addCommand,
  deviceOption,
  listOf,
  machineOptions,
  numeric,
  pick,
  threadsOption,
  type MachineOptions,
} from './options.ts';
import { createStageProgress, writeReports } from './stages.ts';
import { packageVersion } from './version.ts';

interface Options extends MachineOptions {
  readonly json?: boolean;
  readonly model: string;
  readonly data: string;
  readonly out: string;
  readonly variants?: readonly PresetName[];
  readonly kvHeads?: number;
  readonly steps?: number;
  readonly batchSize?: number;
  readonly learningRate?: number;
  readonly testPairs?: number;
  readonly seed?: number;
  readonly quick?: boolean;
}

const DEMO_DIRECTORY = fileURLToPath(new URL('../../demo', import.meta.url));

export function addDemoCommand(program: Command, context: CliContext): void {
  const presets = Object.keys(PRESETS) as PresetName[];
  const integer = numeric(integerIn(1));
  addCommand(
    program,
    'demo',
    "Convert the demo's model to each variant, fine-tune all alike, fold, evaluate and compare;\n" +
      'writes report.html, report.md and report.json. Takes about three minutes on two cores.',
    [
      'wgqa demo',
      'wgqa demo --quick',
      'wgqa demo --variants GQA,WGQA --kv-heads 2 --steps 300 --out results',
    ],
  )
    .optionsGroup('Comparison:')
    .option(
      '--variants <list>',
      `presets besides MHA (default: ${DEFAULT_PLAN.presets.slice(1).join(',')})`,
      listOf(presets),
    )
    .option('--kv-heads <n>', 'K/V heads of GQA variants (default: half the heads)', integer)
    .option('--steps <n>', `optimiser steps (default: ${DEFAULT_PLAN.steps})`, integer)
    .option('--batch-size <n>', `pairs per step (default: ${DEFAULT_PLAN.batchSize})`, integer)
    .option(
      '--learning-rate <x>',
      `highest learning rate (default: ${DEFAULT_PLAN.learningRate})`,
      numeric(numberIn({ min: 0 })),
    )
    .option(
      '--test-pairs <n>',
      `held-out pairs to score (default: ${DEFAULT_PLAN.testPairs})`,
      integer,
    )
    .option(
      '--seed <n>',
      'seed of order, dropout and random weights (default: 0)',
      numeric(integerIn()),
    )
    .option('--quick', 'few steps and pairs: every stage, no meaningful scores')
    .addOption(deviceOption())
    .addOption(threadsOption())
    .optionsGroup('Files:')
    .option('--model <dir>', 'multi-head T5 with its tokenizer', path.join(DEMO_DIRECTORY, 'model'))
    .option(
      '--data <dir>',
      'directory of train, validation and test.jsonl.gz',
      path.join(DEMO_DIRECTORY, 'data'),
    )
    .option('--out <dir>', 'where the reports go', '.')
    .action(async (options: Options) => {
      await demo(options, context);
    });
}

async function demo(options: Options, context: CliContext): Promise<void> {
  const report = await runWithProgress(options, context);
  const files = await writeReports(options.out, report, {
    html: renderHtmlReport,
    markdown: formatMarkdownReport,
  });
  if (options.json) printJson(context, { files, report });
  else printLines(context, ...formatReport(report), '', `Report: ${files.html}`);
}

function planOf(options: Options): DemoPlan {
  const base = options.quick ? QUICK_PLAN : DEFAULT_PLAN;
  const { variants = base.presets } = options;
  return {
    ...base,
    ...pick(options, ['kvHeads', 'steps', 'batchSize', 'learningRate', 'testPairs', 'seed']),
    // The comparison is with a multi-head model that was fine-tuned alike.
    presets: [...new Set<PresetName>(['MHA', ...variants])],
  };
}

async function runWithProgress(options: Options, context: CliContext): Promise<DemoReport> {
  const progress = createStageProgress('demo', context, options);
  try {
    return await runDemo({
      modelDirectory: options.model,
      dataDirectory: options.data,
      plan: planOf(options),
      command: commandOf(options),
      version: packageVersion(),
      signal: context.signal,
      ...machineOptions(options),
      onProgress: progress.update,
    });
  } finally {
    progress.finish();
  }
}

/** The command line that repeats the run, without what names places on this machine. */
function commandOf(options: Options): string {
  const { variants, quick } = options;
  const numbers = [
    ['--kv-heads', options.kvHeads],
    ['--steps', options.steps],
    ['--batch-size', options.batchSize],
    ['--learning-rate', options.learningRate],
    ['--test-pairs', options.testPairs],
    ['--seed', options.seed],
    ['--threads', options.threads],
  ] as const;
  return [
    'wgqa demo',
    ...(quick ? ['--quick'] : []),
    ...(variants ? [`--variants ${variants.join(',')}`] : []),
    ...numbers.flatMap(([flag, value]) => (value === undefined ? [] : `${flag} ${value}`)),
  ].join(' ');
}

/** Table, notes and samples for a terminal; the notes say what became of each comparison. */
function formatReport(report: DemoReport): string[] {
  const notes = (report.settings.notes ?? []).flatMap((note) => ['', note]);
  return ['', formatReportTable(report), ...notes, ...samples(report)];
}

function samples(report: DemoReport): string[] {
  return report.samples.flatMap(({ source, reference, outputs }) => [
    '',
    source,
    `  ${'(reference)'.padEnd(12)}  ${reference}`,
    ...outputs.map(({ preset, text }) => `  ${preset.padEnd(12)}  ${text}`),
  ]);
}

function formatMarkdownReport(report: DemoReport): string {
  const { settings } = report;
  return [
    `# ${report.title}`,
    '',
    `${settings.checkpoint} (${settings.architecture}), ${settings.dataset}; ` +
      `${settings.steps} steps of ${settings.batchSize} pairs; \`${settings.command}\``,
    '',
    formatReportMarkdown(report),
    '',
    ...(settings.notes ?? []).map((text) => `- ${text}`),
    '',
  ].join('\n');
}
