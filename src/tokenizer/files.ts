import { open, type FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { WgqaError } from '../errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** The files that describe a tokenizer, parsed and checked as far as their shape is used here. */
export interface TokenizerFiles {
  /** `tokenizer.json` of the Hugging Face `tokenizers` library. */
  readonly tokenizer: JsonObject;
  /** `tokenizer_config.json`, or an empty object where there is none. */
  readonly config: JsonObject;
}

// The largest published vocabularies (about 256,000 pieces) take some 35 MiB.
const MAX_FILE_BYTES = 128 * 1024 * 1024;
const MAX_VOCAB_SIZE = 4_000_000;
const MODEL_TYPES = ['Unigram', 'BPE', 'WordPiece'];

/**
 * Reads a tokenizer's files.
 *
 * @throws WgqaError `NOT_FOUND` without tokenizer.json, `INVALID_FILE` where a file is malformed
 *   or too large, `IO` where it cannot be read.
 */
export async function readTokenizerFiles(directory: string): Promise<TokenizerFiles> {
  const tokenizer = await readJsonObject(directory, 'tokenizer.json');
  if (tokenizer === undefined) {
    throw new WgqaError(
      'NOT_FOUND',
      `${join(directory, 'tokenizer.json')} does not exist; a SentencePiece file alone is not ` +
        'read, but transformers saves tokenizer.json with save_pretrained()',
      { field: 'tokenizer.json' },
    );
  }
  checkTokenizer(tokenizer);
  const config = (await readJsonObject(directory, 'tokenizer_config.json')) ?? {};
  return { tokenizer, config };
}

/** A malformed tokenizer file; `field` is "file: key". */
export function malformed(field: string, problem: string, cause?: unknown): WgqaError {
  return new WgqaError('INVALID_FILE', `${field} ${problem}`, { field, cause });
}

async function readJsonObject(directory: string, name: string): Promise<JsonObject | undefined> {
  const bytes = await readBounded(join(directory, name), name);
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
async function readBounded(path: string, name: string): Promise<Uint8Array | undefined> {
  let file: FileHandle | undefined;
  try {
    file = await open(path);
    const stats = await file.stat();
    if (!stats.isFile()) throw malformed(name, 'must be a regular file');
    if (stats.size > MAX_FILE_BYTES) {
      throw new WgqaError('INVALID_FILE', `${name} has ${String(stats.size)} bytes`, {
        field: name,
        allowed: `at most ${String(MAX_FILE_BYTES)} bytes`,
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

function checkTokenizer(tokenizer: JsonObject): void {
  const model = tokenizer['model'];
  if (!isObject(model)) throw malformed('tokenizer.json: model', 'must be an object');
  const type = model['type'];
  if (typeof type !== 'string' || !MODEL_TYPES.includes(type)) {
    throw new WgqaError('UNSUPPORTED', `tokenizer.json: model.type is ${JSON.stringify(type)}`, {
      field: 'tokenizer.json: model.type',
      allowed: MODEL_TYPES.join(', '),
    });
  }
  if (type === 'Unigram') checkUnigram(model);
  else checkVocabObject(model['vocab']);
  checkAddedTokens(tokenizer['added_tokens']);
}

function checkUnigram(model: JsonObject): void {
  const vocab = model['vocab'];
  if (!Array.isArray(vocab) || vocab.length === 0 || vocab.length > MAX_VOCAB_SIZE) {
    throw malformed('tokenizer.json: model.vocab', 'must be a list of pieces');
  }
  vocab.forEach((entry: unknown, id) => {
    const [piece, score] = Array.isArray(entry) ? (entry as unknown[]) : [];
    if (typeof piece !== 'string' || typeof score !== 'number') {
      throw malformed(`tokenizer.json: model.vocab[${String(id)}]`, 'must be [piece, score]');
    }
  });
  if (!isTokenId(model['unk_id'], vocab.length)) {
    throw malformed('tokenizer.json: model.unk_id', 'must be the id of a piece');
  }
}

function checkVocabObject(vocab: unknown): void {
  const entries = isObject(vocab) ? Object.entries(vocab) : [];
  if (entries.length === 0)
    throw malformed('tokenizer.json: model.vocab', 'must map pieces to ids');
  for (const [piece, id] of entries) {
    if (isTokenId(id, MAX_VOCAB_SIZE)) continue;
    throw malformed(`tokenizer.json: model.vocab[${JSON.stringify(piece)}]`, 'must be a token id');
  }
}

function checkAddedTokens(tokens: unknown): void {
  if (!Array.isArray(tokens)) throw malformed('tokenizer.json: added_tokens', 'must be a list');
  tokens.forEach((token: unknown, index) => {
    const field = `tokenizer.json: added_tokens[${String(index)}]`;
    if (!isObject(token) || typeof token['content'] !== 'string' || token['content'] === '') {
      throw malformed(`${field}.content`, 'must be text');
    }
    if (!isTokenId(token['id'], MAX_VOCAB_SIZE)) {
      throw malformed(`${field}.id`, `must be an integer from 0 to ${String(MAX_VOCAB_SIZE - 1)}`);
    }
  });
}

function isTokenId(value: unknown, limit: number): boolean {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < limit;
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
