/**
 * Tokens beside the model's vocabulary. Four files may name them, and Transformers heeds all:
 * tokenizer.json, tokenizer_config.json, special_tokens_map.json and added_tokens.json.
 */
import {
  booleanAt,
  isObject,
  isTokenId,
  malformed,
  MAX_PIECE_LENGTH,
  MAX_VOCAB_SIZE,
  type JsonObject,
} from './checks.ts';
import type { CheckedModel } from './model.ts';

/** An added token as the library takes it, apart from its id. */
export interface AddedToken {
  readonly content: string;
  readonly single_word: boolean;
  readonly lstrip: boolean;
  readonly rstrip: boolean;
  readonly normalized: boolean;
  readonly special: boolean;
}

export interface AddedTokens {
  /** In the library's order; it holds fillers where ids are left out. */
  readonly list: readonly (AddedToken & { readonly id: number })[];
  /** Those of the files, by id. */
  readonly byId: ReadonlyMap<number, AddedToken>;
}

/** The files that may name tokens; absent ones are empty. */
export interface TokenFiles {
  readonly tokenizer: JsonObject;
  /** tokenizer_config.json */
  readonly config: JsonObject;
  /** special_tokens_map.json */
  readonly specialTokens: JsonObject;
  /** added_tokens.json */
  readonly addedTokens: JsonObject;
}

interface Entry {
  readonly id: number | undefined;
  readonly token: AddedToken;
}

const NAMES = ['bos', 'eos', 'unk', 'sep', 'pad', 'cls', 'mask'].map((name) => `${name}_token`);
const MORE_NAMES = ['additional_special_tokens', 'extra_special_tokens'];
const MAX_FILLERS = 1 << 16;

/** @throws WgqaError `INVALID_FILE` */
export function checkAddedTokens(files: TokenFiles, model: CheckedModel): AddedTokens {
  const entries = new Map<string, Entry>();
  readTokenizerJson(files.tokenizer['added_tokens'] ?? [], entries);
  readConfig(files.config['added_tokens_decoder'] ?? {}, entries);
  readAddedTokensJson(files.addedTokens, entries);
  for (const source of [files.config, files.specialTokens]) readNames(source, entries, model);
  return withIds([...entries.values()], model);
}

/** The token that a key such as "eos_token" names: text, or an object with its content. */
export function namedToken(files: TokenFiles, key: string): string | undefined {
  for (const source of [files.config, files.specialTokens]) {
    const value = source[key];
    const content = isObject(value) ? value['content'] : value;
    if (typeof content === 'string') return content;
  }
  return undefined;
}

function readTokenizerJson(value: unknown, entries: Map<string, Entry>): void {
  const field = 'tokenizer.json: added_tokens';
  if (!Array.isArray(value) || value.length > MAX_VOCAB_SIZE) {
    throw malformed(field, 'must be a list');
  }
  for (const [i, item] of value.entries()) {
    const token = readToken(item, `${field}[${i}]`);
    const id: unknown = (item as JsonObject)['id'];
    if (!isTokenId(id)) {
      const allowed = `must be an integer from 0 to ${MAX_VOCAB_SIZE - 1}`;
      throw malformed(`${field}[${i}].id`, allowed);
    }
    entries.set(token.content, { id, token });
  }
}

/** `{"32000": {"content": ...}}` */
function readConfig(value: unknown, entries: Map<string, Entry>): void {
  const field = 'tokenizer_config.json: added_tokens_decoder';
  if (!isObject(value)) throw malformed(field, 'must be an object');
  for (const [key, item] of Object.entries(value)) {
    const name = `${field}[${JSON.stringify(key.slice(0, 20))}]`;
    const id = Number(key);
    if (!isTokenId(id)) throw malformed(name, 'must have a token id as its key');
    const token = readToken(item, name);
    entries.set(token.content, { id: entries.get(token.content)?.id ?? id, token });
  }
}

/** `{"<extra>": 32000}`, without more: flags come from the other files. */
function readAddedTokensJson(value: JsonObject, entries: Map<string, Entry>): void {
  for (const [content, id] of Object.entries(value)) {
    const name = `added_tokens.json: ${JSON.stringify(content.slice(0, 80))}`;
    if (!isTokenId(id)) throw malformed(name, 'must be a token id');
    if (entries.has(content)) continue;
    entries.set(content, { id, token: readToken({ content }, name) });
  }
}

/**
 * Tokens that have a role are special. One that no vocabulary has becomes a token of its own where
 * it stands in a list; as "pad_token" and the like it does not, since no model has a row for it.
 */
function readNames(source: JsonObject, entries: Map<string, Entry>, model: CheckedModel): void {
  const mark = (value: unknown, isListed: boolean): void => {
    const content = isObject(value) ? value['content'] : value;
    if (typeof content !== 'string' || content === '') return;
    const known = entries.get(content);
    if (known === undefined && !isListed && !model.idOf.has(content)) return;
    const flags = isObject(value) ? value : (known?.token ?? { content });
    const normalized = flags.normalized ?? false;
    const token = readToken(
      { ...flags, normalized, special: true },
      'tokenizer_config.json: token',
    );
    entries.set(content, { id: known?.id, token });
  };
  for (const name of NAMES) mark(source[name], false);
  for (const name of MORE_NAMES) {
    const value = source[name];
    const tokens = isObject(value) ? Object.values(value) : value;
    if (Array.isArray(tokens)) for (const token of tokens) mark(token, true);
  }
}

function readToken(value: unknown, field: string): AddedToken {
  const content = isObject(value) ? value['content'] : undefined;
  if (typeof content !== 'string' || content === '' || content.length > MAX_PIECE_LENGTH) {
    throw malformed(`${field}.content`, `must be text of at most ${MAX_PIECE_LENGTH} characters`);
  }
  const flags = value as JsonObject;
  const flag = (key: string, usual: boolean) => booleanAt(flags[key], `${field}.${key}`, usual);
  const special = flag('special', false);
  return {
    content,
    single_word: flag('single_word', false),
    lstrip: flag('lstrip', false),
    rstrip: flag('rstrip', false),
    normalized: flag('normalized', !special),
    special,
  };
}

/**
 * The library numbers tokens that its model lacks one after the other, whatever id a file gives them.
 * Fillers, which no text holds, take the ids that are left out.
 */
function withIds(entries: readonly Entry[], model: CheckedModel): AddedTokens {
  const known = entries.filter(({ token }) => model.idOf.has(token.content));
  const list = known.map(({ token }) => ({ ...token, id: model.idOf.get(token.content)! }));
  const byId = new Map<number, AddedToken>(list.map((token) => [token.id, token]));
  let next = model.size;
  const fresh = entries.filter(({ token }) => !model.idOf.has(token.content));
  fresh.sort((a, b) => (a.id ?? Infinity) - (b.id ?? Infinity) || 0);
  for (const { id = next, token } of fresh) {
    if (id - next > MAX_FILLERS || next >= MAX_VOCAB_SIZE) {
      const content = JSON.stringify(token.content.slice(0, 80));
      throw malformed(`added token ${content}`, `has the id ${id}, far beyond the vocabulary`);
    }
    while (next < id) list.push(filler(next++));
    list.push({ ...token, id: next });
    byId.set(next, token);
    next += 1;
  }
  return { list, byId };
}

function filler(id: number): AddedToken & { readonly id: number } {
  const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
  return { id, content: `\u{10ffff}${id}`, ...flags, special: true };
}
