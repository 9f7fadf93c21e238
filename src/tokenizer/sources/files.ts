/** The files of a directory that describe a tokenizer, whichever there are. */
import { constants } from 'node:fs';
import { access, open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { WgqaError } from '../../errors.ts';
import { isObject, malformed, type JsonObject, type TokenFiles } from '../description/index.ts';
import { byt5 } from './byt5.ts';
import { fromSentencePiece } from './sentencepiece.ts';

// The largest published vocabularies (about 256,000 pieces) take some 35 MiB.
const MAX_FILE_BYTES = 128 * 1024 * 1024;
const MAX_CONFIG_BYTES = 16 * 1024 * 1024;
const TOKENIZER_JSON = 'tokenizer.json';
const CONFIG = 'tokenizer_config.json';
const SENTENCE_PIECE_FILES = ['spiece.model', 'tokenizer.model'];
const BYT5 = 'ByT5Tokenizer';

/**
 * Reads a tokenizer's files: tokenizer.json, or a model file of SentencePiece, or for ByT5 neither.
 *
 * @throws WgqaError `NOT_FOUND` where none is there, `INVALID_FILE` where one is malformed or too
 *   large, `UNSUPPORTED`, `IO` where one cannot be read
 */
export async function readTokenizerFiles(directory: string): Promise<TokenFiles> {
  const config = (await readJsonObject(directory, CONFIG, MAX_CONFIG_BYTES)) ?? {};
  const optional = async (name: string) =>
    (await readJsonObject(directory, name, MAX_CONFIG_BYTES)) ?? {};
  return {
    tokenizer: await readTokenizer(directory, config),
    config,
    specialTokens: await optional('special_tokens_map.json'),
    addedTokens: await optional('added_tokens.json'),
  };
}

/** Whether a directory has files that {@link readTokenizerFiles} looks for. */
export async function hasTokenizer(directory: string): Promise<boolean> {
  for (const name of [TOKENIZER_JSON, ...SENTENCE_PIECE_FILES]) {
    const exists = await access(join(directory, name)).then(
      () => true,
      () => false,
    );
    if (exists) return true;
  }
  const config = await readJsonObject(directory, CONFIG, MAX_CONFIG_BYTES);
  return config?.['tokenizer_class'] === BYT5;
}

async function readTokenizer(directory: string, config: JsonObject): Promise<JsonObject> {
  const json = await readJsonObject(directory, TOKENIZER_JSON, MAX_FILE_BYTES);
  if (json !== undefined) return json;
  for (const name of SENTENCE_PIECE_FILES) {
    const bytes = await readBounded(join(directory, name), name, MAX_CONFIG_BYTES);
    if (bytes !== undefined) return fromSentencePiece(bytes, name, config);
  }
  if (config['tokenizer_class'] === BYT5) return byt5(config);
  throw new WgqaError(
    'NOT_FOUND',
    `${join(directory, TOKENIZER_JSON)} does not exist, nor do ${SENTENCE_PIECE_FILES.join(' and ')}; ` +
      `of ByT5, ${CONFIG} must name ${BYT5}. transformers saves all with save_pretrained()`,
    { field: TOKENIZER_JSON },
  );
}

async function readJsonObject(
  directory: string,
  name: string,
  maxBytes: number,
): Promise<JsonObject | undefined> {
  const bytes = await readBounded(join(directory, name), name, maxBytes);
  if (bytes === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes));
  } catch (cause) {
    throw malformed(name, 'is not valid JSON', cause);
  }
  if (!isObject(value)) throw malformed(name, 'must hold a JSON object');
  return value;
}

/** The file's bytes, or undefined where there is no such file. */
async function readBounded(
  path: string,
  name: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  let file: FileHandle | undefined;
  try {
    // Opening a pipe that nobody writes to would otherwise wait for ever.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stats = await file.stat();
    if (!stats.isFile()) throw malformed(name, 'must be a regular file');
    if (stats.size > maxBytes) {
      throw new WgqaError('INVALID_FILE', `${name} has ${stats.size} bytes`, {
        field: name,
        allowed: `at most ${maxBytes} bytes`,
      });
    }
    return await file.readFile();
  } catch (cause) {
    if (cause instanceof WgqaError) throw cause;
    const code = (cause as NodeJS.ErrnoException).code;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new WgqaError('IO', `cannot read ${path}: ${String(cause)}`, { field: name, cause });
  } finally {
    await file?.close();
  }
}
