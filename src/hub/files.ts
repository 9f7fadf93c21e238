/** Which files of a repository are needed. */
import { parseJsonObject } from '../checkpoint/json.ts';
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';

/**
 * Chooses among the paths of a repository; `read` gives the content of a small one, which is then
 * in the cache. What it names must be among the paths.
 */
export type FileChoice = (
  paths: ReadonlySet<string>,
  read: (path: string) => Promise<Uint8Array>,
) => Promise<readonly string[]> | readonly string[];

export const CONFIG_FILES = ['config.json', 'generation_config.json'];

export const TOKENIZER_FILES = [
  'tokenizer.json',
  'tokenizer_config.json',
  'special_tokens_map.json',
  'added_tokens.json',
  'spiece.model',
  'sentencepiece.bpe.model',
  'tokenizer.model',
  'vocab.json',
  'merges.txt',
  'vocab.txt',
  'chat_template.jinja',
  'chat_template.json',
];

/** Weights in one file, or an index with shards; the first there is, is taken. */
const WEIGHTS = [
  { file: 'model.safetensors', index: 'model.safetensors.index.json' },
  { file: 'pytorch_model.bin', index: 'pytorch_model.bin.index.json' },
];
const MAX_SHARDS = 10_000;

/** Configuration, tokenizer and weights. */
export const chooseModel: FileChoice = async (paths, read) => {
  if (!paths.has('config.json')) throw lacks('config.json', paths);
  const small = present([...CONFIG_FILES, ...TOKENIZER_FILES], paths);
  return [...small, ...(await chooseWeights(paths, read))];
};

/** What loadTokenizer reads. */
export const chooseTokenizer: FileChoice = (paths) => {
  const chosen = present(TOKENIZER_FILES, paths);
  if (chosen.length === 0) throw lacks('tokenizer.json', paths);
  return [...present(CONFIG_FILES, paths), ...chosen];
};

export function present(names: readonly string[], paths: ReadonlySet<string>): string[] {
  return names.filter((name) => paths.has(name));
}

async function chooseWeights(
  paths: ReadonlySet<string>,
  read: (path: string) => Promise<Uint8Array>,
): Promise<string[]> {
  for (const { file, index } of WEIGHTS) {
    if (paths.has(file)) return [file];
    if (paths.has(index)) return [index, ...shardsOf(await read(index), index)];
  }
  throw lacks('model.safetensors or pytorch_model.bin', paths);
}

/** The repository holds something else. */
export function lacks(wanted: string, paths: ReadonlySet<string>): WgqaError {
  const others = [...paths].filter((name) => !/^(\.|README|LICENSE)/i.test(name)).slice(0, 8);
  return new WgqaError(
    'UNSUPPORTED',
    `the repository has no ${wanted}; it has ${others.join(', ') || 'no files'}`,
    { field: wanted },
  );
}

function shardsOf(index: Uint8Array, name: string): string[] {
  const { weight_map: map } = parseJsonObject(index, name).object;
  const shards = isRecord(map) ? [...new Set(Object.values(map))] : [];
  if (shards.length > 0 && shards.length <= MAX_SHARDS && shards.every(isString)) return shards;
  throw new WgqaError('INVALID_FILE', `${name} has no weight_map of files`, {
    field: 'weight_map',
  });
}

function isString(value: unknown): value is string {
  return typeof value === 'string';
}
