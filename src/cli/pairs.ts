/** Options of commands that read text pairs. */
import { Option, type Command } from 'commander';
import { heapCapacity } from '../data/capacity.ts';
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

/**
 * The pairs of all `files`, in order; the first `limit` of them, or as many as there may be at once.
 * @throws WgqaError INVALID_FILE if they hold none, OUT_OF_MEMORY if more than fit into the heap
 */
export async function* readAllPairs(
  files: readonly string[],
  options: PairOptions,
  limit = Infinity,
): AsyncGenerator<TextPair> {
  const reading = pick(options, ['format', 'sourceField', 'targetField', 'prefix']);
  const capacity = heapCapacity();
  let count = 0;
  for (const file of files) {
    const maxPairs = limit === Infinity ? { maxPairs: Math.max(1, capacity - count) } : {};
    for await (const pair of withFlags(readPairs(file, { ...reading, ...maxPairs }))) {
      yield pair;
      count += 1;
      if (count === limit) return;
    }
  }
  if (count > 0) return;
  const [field = 'files'] = files;
  throw new WgqaError('INVALID_FILE', `${files.join(', ')}: no text pairs`, { field });
}

/** What a file lacks is named by flags. */
async function* withFlags(pairs: AsyncIterable<TextPair>): AsyncGenerator<TextPair> {
  try {
    yield* pairs;
  } catch (error) {
    if (!(error instanceof WgqaError) || error.code !== 'INVALID_FILE') throw error;
    if (!/: (?:no column|"[^"]*" must be text)/.test(error.message)) throw error;
    const { code, message, field } = error;
    const hint = '--source-field and --target-field name what holds the texts';
    throw new WgqaError(code, `${message}; ${hint}`, { field, cause: error });
  }
}
