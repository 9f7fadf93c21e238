/** All commands as one commander program. */
import { Command } from 'commander';
import { addBenchCommand } from './bench.ts';
import { addCompletionCommand } from './completion.ts';
import type { CliContext } from './context.ts';
import { addConvertCommand } from './convert.ts';
import { addDemoCommand } from './demo.ts';
import { addEvaluateCommand } from './evaluate.ts';
import { addExperimentCommand } from './experiment.ts';
import { addExportCommand } from './export.ts';
import { addFoldCommand } from './fold.ts';
import { addGenerateCommand } from './generate.ts';
import { addInfoCommand } from './info.ts';
import { addInspectCommand } from './inspect.ts';
import { resolveModelArguments } from './models.ts';
import { addPullCommand } from './pull.ts';
import { addTrainCommand } from './train.ts';
import { packageVersion } from './version.ts';
import { visible } from './visible.ts';

const COMMANDS = [
  addPullCommand,
  addInspectCommand,
  addConvertCommand,
  addTrainCommand,
  addFoldCommand,
  addExportCommand,
  addEvaluateCommand,
  addGenerateCommand,
  addExperimentCommand,
  addBenchCommand,
  addDemoCommand,
  addInfoCommand,
  addCompletionCommand,
];

const EPILOGUE = `
A MODEL is a Hugging Face directory of a T5: config.json, model.safetensors (or shards), and
tokenizer.json where text goes in or out; or org/name[@revision] of the Hugging Face hub, which is
downloaded into the cache that Python's library uses, too (HF_HOME, HF_TOKEN, HF_HUB_OFFLINE, …).

Results go to standard output, progress and errors to standard error.
Exit codes: 0 done, 1 failed, 2 bad usage, 130 after Ctrl-C.`;

/** Throws CommanderError where commander would end the process. */
export function createProgram(context: CliContext, { json }: { readonly json: boolean }): Command {
  const program = new Command('wgqa')
    .description(
      'Convert Hugging Face T5 models to multi-query, grouped-query and weighted grouped-query\n' +
        'attention, fine-tune and fold them, and generate text with the smaller K/V cache.',
    )
    .version(packageVersion())
    .exitOverride()
    .configureOutput({
      writeOut: (text) => context.stdout.write(text),
      writeErr: (text) => context.stderr.write(visible(text)),
      outputError: (text, write) => {
        if (!json) write(text.replace(/^error: /, 'wgqa: '));
      },
      getOutHelpWidth: () => context.stdout.columns ?? 100,
      getErrHelpWidth: () => context.stderr.columns ?? 100,
    })
    .showHelpAfterError(json ? false : "('--help' lists what is allowed)")
    .addHelpText('after', EPILOGUE)
    .hook('preAction', (_, command) => resolveModelArguments(command, context));
  for (const add of COMMANDS) add(program, context);
  return program;
}
