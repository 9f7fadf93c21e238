/** `wgqa pull`: download a model. */
import type { Command } from 'commander';
import { printJson, printLines, type CliContext } from './context.ts';
import { modelDirectory } from './models.ts';
import { addCommand } from './options.ts';

interface PullOptions {
  readonly json?: boolean;
  readonly revision?: string;
  readonly cacheDir?: string;
}

export function addPullCommand(program: Command, context: CliContext): void {
  addCommand(
    program,
    'pull <model>',
    'Download a model of the Hugging Face hub, and print its directory.\n' +
      'What is in the cache is not downloaded again; what was cut off is continued. Read are\n' +
      'HF_TOKEN, HF_HOME, HF_HUB_CACHE, HF_ENDPOINT, HF_HUB_OFFLINE, HTTPS_PROXY and NO_PROXY.',
    ['wgqa pull google/flan-t5-small', 'wgqa pull google-t5/t5-small@main --json'],
  )
    .option('--revision <name>', 'a branch, a tag or a commit (default: main)')
    .option('--cache-dir <path>', 'holds the models (default: as HF_HUB_CACHE and HF_HOME say)')
    .action(async (model: string, { json = false, ...options }: PullOptions) => {
      const directory = await modelDirectory(model, context, { json, ...options });
      if (json) printJson(context, { model, directory });
      else printLines(context, directory);
    });
}
