/** Options of commands that read text pairs. */
import { Option, type Command } from 'commander';
import { PAIR_FORMATS, type PairFormat } from '../data/index.ts';
import { readPairs, WgqaError, type TextPair } from '../index.ts';
import { integerIn } from '../options.ts';
import { numeric, pick } from './options.ts';

export interface PairOptions {
  readonly format?: PairFormat;
  readonly sourceField: string;
  readonly targetField: string;
  readonly prefix: string;
  readonly maxSourceTokens: number;
  readonly maxTargetTokens: number;
}

export function addPairOptions(command: Command): Command {
  return command
    .optionsGroup('Text pairs:')
    .addOption(
      new Option(
        '--format <format>',
        'default: by the ending .parquet, or .jsonl, .ndjson, .csv or .tsv, with or without .gz',
      ).choices(PAIR_FORMATS),
    )
    .option('--source-field <name>', 'member (or a.b) or column with the source', 'source')
    .option('--target-field <name>', 'member (or a.b) or column with the target', 'target')
    .option('--prefix <text>', 'put before each source, as "summarize: "', '')
    .option('--max-source-tokens <n>', 'cut longer sources', numeric(integerIn(2)), 512)
    .option('--max-target-tokens <n>', 'cut longer targets', numeric(integerIn(2)), 128);
}

/** The pairs of all `files`, in order. @throws WgqaError INVALID_FILE if they hold none */
export async function* readAllPairs(
  files: readonly string[],
  options: PairOptions,
): AsyncGenerator<TextPair> {
  const reading = pick(options, ['format', 'sourceField', 'targetField', 'prefix']);
  let isEmpty = true;
  for (const file of files) {
    for await (const pair of readPairs(file, reading)) {
      isEmpty = false;
      yield pair;
    }
  }
  if (!isEmpty) return;
  const [field = 'files'] = files;
  throw new WgqaError('INVALID_FILE', `${files.join(', ')}: no text pairs`, { field });
}
