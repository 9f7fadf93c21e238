/**
 * The parts of a tokenizer.json around its model: a list of what each may hold. A tokenizer file is a
 * program for the library, which runs what it is given: it repeats without end, grows texts without
 * bound and ends the process where a part contradicts itself. So each part is copied field by field.
 */
import { readCharsMap } from './chars-map.ts';
import {
  booleanAt,
  isObject,
  isTokenId,
  listAt,
  malformed,
  objectAt,
  oneOfAt,
  textAt,
  unsupported,
  type JsonObject,
} from './checks.ts';
import { patternProblem } from './pattern.ts';

/** A part as the library takes it; null where there is none. */
export type Component = JsonObject | null;

/** Copies one kind of part; `field` names it in errors. */
type Reader = (part: JsonObject, field: string) => JsonObject | null;
type Readers = Readonly<Record<string, Reader>>;

const MAX_PARTS = 32;
const MAX_DEPTH = 4;
/** Characters of a replacement, a prefix and the like. */
const MAX_TEXT = 64;
const BEHAVIORS = [
  'Removed',
  'Isolated',
  'MergedWithPrevious',
  'MergedWithNext',
  'Contiguous',
] as const;

const nothing: Reader = () => ({});

const text = (part: JsonObject, key: string, field: string, maxLength = MAX_TEXT): string =>
  textAt(part[key], `${field}.${key}`, maxLength);

const flags =
  (...usual: [string, boolean][]): Reader =>
  (part, field) =>
    Object.fromEntries(
      usual.map(([key, value]) => [key, booleanAt(part[key], `${field}.${key}`, value)]),
    );

/** `{"String": ...}` or `{"Regex": ...}`. */
function pattern(part: JsonObject, field: string): JsonObject {
  const value = objectAt(part['pattern'], `${field}.pattern`);
  if (typeof value['String'] === 'string') {
    const plain = text(value, 'String', `${field}.pattern`);
    if (plain === '') throw malformed(`${field}.pattern`, 'must not be empty');
    return { String: plain };
  }
  const expression = text(value, 'Regex', `${field}.pattern`, 4000);
  const problem = patternProblem(expression);
  if (problem !== undefined) {
    const allowed = 'an expression whose time is linear in the text';
    throw unsupported(`${field}.pattern.Regex`, `${expression}: ${problem}`, allowed);
  }
  return { Regex: expression };
}

const replace: Reader = (part, field) => ({
  pattern: pattern(part, field),
  content: text(part, 'content', field),
});

/** One character. */
function character(part: JsonObject, key: string, field: string): string {
  const value = text(part, key, field);
  if (Array.from(value).length !== 1) throw malformed(`${field}.${key}`, 'must be one character');
  return value;
}

const metaspace: Reader = (part, field) => {
  const withPrefix = booleanAt(part['add_prefix_space'], `${field}.add_prefix_space`, true);
  const scheme = part['prepend_scheme'] ?? (withPrefix ? 'always' : 'never');
  return {
    replacement: character(part, 'replacement', field),
    prepend_scheme: oneOfAt(scheme, `${field}.prepend_scheme`, ['always', 'first', 'never']),
    split: booleanAt(part['split'], `${field}.split`, true),
  };
};

const precompiled: Reader = (part, field) => {
  const encoded = part['precompiled_charsmap'] ?? '';
  if (encoded === '') return null;
  const name = `${field}.precompiled_charsmap`;
  if (typeof encoded !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(encoded)) {
    throw malformed(name, 'must be base64');
  }
  const map = readCharsMap(Buffer.from(encoded, 'base64'));
  if (typeof map === 'string') throw malformed(name, map);
  return { precompiled_charsmap: encoded };
};

const byteLevel: Reader = flags(
  ['add_prefix_space', true],
  ['use_regex', true],
  // Where tokens lie in the text is not asked for.
  ['trim_offsets', false],
);

const NORMALIZERS: Readers = {
  NFC: nothing,
  NFD: nothing,
  NFKC: nothing,
  NFKD: nothing,
  Nmt: nothing,
  Lowercase: nothing,
  StripAccents: nothing,
  ByteLevel: nothing,
  BertNormalizer: (part, field) => ({
    ...flags(
      ['clean_text', true],
      ['handle_chinese_chars', true],
      ['lowercase', true],
    )(part, field),
    strip_accents:
      (part['strip_accents'] ?? null) === null
        ? null
        : booleanAt(part['strip_accents'], `${field}.strip_accents`, true),
  }),
  Strip: flags(['strip_left', true], ['strip_right', true]),
  Prepend: (part, field) => {
    const prepend = text(part, 'prepend', field);
    // Of nothing before a text, the library loses track and reads beyond its end.
    return prepend === '' ? null : { prepend };
  },
  Precompiled: precompiled,
  Replace: replace,
};

const PRE_TOKENIZERS: Readers = {
  BertPreTokenizer: nothing,
  Whitespace: nothing,
  WhitespaceSplit: nothing,
  UnicodeScripts: nothing,
  ByteLevel: byteLevel,
  Metaspace: metaspace,
  CharDelimiterSplit: (part, field) => ({ delimiter: character(part, 'delimiter', field) }),
  Digits: flags(['individual_digits', false]),
  Punctuation: (part, field) => ({
    behavior: oneOfAt(part['behavior'] ?? 'Isolated', `${field}.behavior`, BEHAVIORS),
  }),
  Split: (part, field) => ({
    pattern: pattern(part, field),
    behavior: oneOfAt(part['behavior'], `${field}.behavior`, BEHAVIORS),
    invert: booleanAt(part['invert'], `${field}.invert`, false),
  }),
  FixedLength: (part, field) => {
    const length = part['length'] ?? 5;
    if (isTokenId(length) && length > 0) return { length };
    throw malformed(`${field}.length`, 'must be a positive integer');
  },
};

const DECODERS: Readers = {
  ByteFallback: nothing,
  Fuse: nothing,
  ByteLevel: byteLevel,
  Metaspace: metaspace,
  Replace: replace,
  BPEDecoder: (part, field) => ({ suffix: textAt(part['suffix'] ?? '</w>', `${field}.suffix`) }),
  WordPiece: (part, field) => ({
    prefix: textAt(part['prefix'] ?? '##', `${field}.prefix`),
    cleanup: booleanAt(part['cleanup'], `${field}.cleanup`, true),
  }),
  CTC: (part, field) => ({
    pad_token: textAt(part['pad_token'] ?? '<pad>', `${field}.pad_token`),
    word_delimiter_token: textAt(part['word_delimiter_token'] ?? '|', `${field}.pad_token`),
    cleanup: booleanAt(part['cleanup'], `${field}.cleanup`, true),
  }),
  Strip: (part, field) => {
    const { start = 0, stop = 0 } = part;
    // The library reads beyond a token that is shorter than what is to be cut from its end.
    if (!isTokenId(start, MAX_TEXT) || stop !== 0) {
      throw malformed(field, 'must cut from the start alone');
    }
    return { content: character(part, 'content', field), start, stop };
  },
};

const POST_PROCESSORS: Readers = {
  ByteLevel: byteLevel,
  BertProcessing: (part, field) => pairsOf(part, field),
  RobertaProcessing: (part, field) => ({
    ...pairsOf(part, field),
    trim_offsets: false,
    add_prefix_space: booleanAt(part['add_prefix_space'], `${field}.add_prefix_space`, true),
  }),
  TemplateProcessing: template,
};

/** Tokens before and after a text as [piece, id]. */
function pairsOf(part: JsonObject, field: string): JsonObject {
  const pair = (key: string) => {
    const [token, id, ...others] = listAt(part[key], `${field}.${key}`, 2);
    if (!isTokenId(id) || others.length > 0)
      throw malformed(`${field}.${key}`, 'must be [token, id]');
    return [textAt(token, `${field}.${key}`), id];
  };
  return { sep: pair('sep'), cls: pair('cls') };
}

/** What stands around a text: a list that holds the text once. Pairs of texts are not encoded. */
function template(part: JsonObject, field: string): JsonObject {
  const tokens = objectAt(part['special_tokens'] ?? {}, `${field}.special_tokens`);
  const used: Record<string, JsonObject> = {};
  let texts = 0;
  const single = listAt(part['single'], `${field}.single`, MAX_PARTS).map((value, i) => {
    const name = `${field}.single[${i}]`;
    const piece = objectAt(value, name);
    if (isObject(piece['Sequence'])) {
      texts += 1;
      if (piece['Sequence']['id'] !== 'A') throw malformed(name, 'must be the sequence A');
      return { Sequence: { id: 'A', type_id: 0 } };
    }
    const id = textAt(objectAt(piece['SpecialToken'], name)['id'], `${name}.id`);
    const token = Object.hasOwn(tokens, id) ? tokens[id] : undefined;
    used[id] = specialToken(token, id, `${field}.special_tokens`);
    return { SpecialToken: { id, type_id: 0 } };
  });
  if (texts !== 1) throw malformed(`${field}.single`, 'must hold the sequence A once');
  return { single, pair: [], special_tokens: used };
}

function specialToken(value: unknown, id: string, field: string): JsonObject {
  const token = objectAt(value, `${field}[${JSON.stringify(id)}]`);
  const name = `${field}[${JSON.stringify(id)}].ids`;
  const ids = listAt(token['ids'], name, MAX_PARTS);
  if (!ids.every((tokenId) => isTokenId(tokenId))) throw malformed(name, 'must be token ids');
  return { id, ids, tokens: ids.map(() => id) };
}

/** Copies a part of one of the kinds in `readers`, or a sequence of them. */
function readPart(
  value: unknown,
  field: string,
  readers: Readers,
  list: string,
  depth = 0,
): Component {
  if (value === null || value === undefined) return null;
  const part = objectAt(value, field);
  const { type } = part;
  if (type === 'Sequence') {
    if (depth === MAX_DEPTH) throw malformed(field, 'is nested too deeply');
    const parts = listAt(part[list], `${field}.${list}`, MAX_PARTS)
      .map((inner, i) => readPart(inner, `${field}.${list}[${i}]`, readers, list, depth + 1))
      .filter((inner) => inner !== null);
    return { type, [list]: parts };
  }
  const reader =
    typeof type === 'string' && Object.hasOwn(readers, type) ? readers[type] : undefined;
  if (reader === undefined) {
    throw unsupported(`${field}.type`, type, ['Sequence', ...Object.keys(readers)].join(', '));
  }
  const copy = reader(part, field);
  return copy && { type, ...copy };
}

/** @throws WgqaError `INVALID_FILE`, `UNSUPPORTED` for parts of other types, as all of these do */
export function checkNormalizer(value: unknown): Component {
  const normalizer = readPart(value, 'tokenizer.json: normalizer', NORMALIZERS, 'normalizers');
  if (growthOf(normalizer) > MAX_TEXT) {
    throw unsupported('tokenizer.json: normalizer', 'too large', `${MAX_TEXT} times the text`);
  }
  return normalizer;
}

export function checkPreTokenizer(value: unknown): Component {
  return readPart(value, 'tokenizer.json: pre_tokenizer', PRE_TOKENIZERS, 'pretokenizers');
}

export function checkDecoder(value: unknown): Component {
  const decoder = readPart(value, 'tokenizer.json: decoder', DECODERS, 'decoders');
  if (growthOf(decoder) > MAX_TEXT) {
    throw unsupported('tokenizer.json: decoder', 'too large', `${MAX_TEXT} times the text`);
  }
  return decoder;
}

export function checkPostProcessor(value: unknown): Component {
  return readPart(value, 'tokenizer.json: post_processor', POST_PROCESSORS, 'processors');
}

/** By how many times its parts may lengthen a text in characters; Unicode's own forms count as one. */
export function growthOf(part: Component): number {
  if (part === null) return 1;
  const parts = part['normalizers'] ?? part['decoders'];
  if (Array.isArray(parts)) {
    return (parts as JsonObject[]).reduce((product, inner) => product * growthOf(inner), 1);
  }
  switch (part['type']) {
    case 'Replace': {
      const { pattern: replaced, content } = part as { pattern: JsonObject; content: string };
      const { String: plain } = replaced;
      const length = typeof plain === 'string' ? Array.from(plain).length : 1;
      return Math.max(1, Array.from(content).length / length);
    }
    case 'Precompiled': {
      const map = readCharsMap(Buffer.from(String(part['precompiled_charsmap']), 'base64'));
      return typeof map === 'string' ? 1 : map.growth;
    }
    default:
      return 1;
  }
}
