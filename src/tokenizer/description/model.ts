/**
 * `model` of a tokenizer.json: which of the four kinds it is, and whether it is whole. The library
 * trusts it in places: a merge without its result, for one, would end the process.
 */
import {
  booleanAt,
  isObject,
  isTokenId,
  MAX_PIECE_LENGTH,
  MAX_VOCAB_SIZE,
  malformed,
  objectAt,
  optionalTextAt,
  textAt,
  unsupported,
  type JsonObject,
} from './checks.ts';

const FIELD = 'tokenizer.json: model';
const MODEL_TYPES = ['Unigram', 'BPE', 'WordPiece', 'WordLevel'] as const;
/** The search for the best pieces tries every prefix of a text: 16 is usual. */
const MAX_UNIGRAM_PIECE = 128;
/** WordPiece takes quadratic time in a word; 100 is usual. */
const MAX_WORD_LENGTH = 200;

export interface CheckedModel {
  /** What the library takes. */
  readonly json: JsonObject;
  /** The piece of each id; ids may be missing. */
  readonly pieces: readonly (string | undefined)[];
  readonly idOf: ReadonlyMap<string, number>;
  /** What the library takes for the number of pieces: added tokens get ids from here on. */
  readonly size: number;
}

/** @throws WgqaError `INVALID_FILE`, `UNSUPPORTED` for a model of another type */
export function checkModel(value: unknown): CheckedModel {
  const model = objectAt(value, FIELD);
  switch (modelType(model)) {
    case 'Unigram':
      return checkUnigram(model);
    case 'BPE':
      return checkBpe(model);
    case 'WordPiece':
      return checkWordPiece(model);
    case 'WordLevel':
      return withVocabulary(model, () => ({ type: 'WordLevel', unk_token: unknownToken(model) }));
  }
}

/** Older files do not name the type; its keys tell it. */
function modelType(model: JsonObject): (typeof MODEL_TYPES)[number] {
  const { type } = model;
  if (type === undefined) {
    if (Array.isArray(model['vocab'])) return 'Unigram';
    if ('merges' in model) return 'BPE';
    return 'max_input_chars_per_word' in model ? 'WordPiece' : 'WordLevel';
  }
  const known = MODEL_TYPES.find((name) => name === type);
  if (known === undefined) throw unsupported(`${FIELD}.type`, type, MODEL_TYPES.join(', '));
  return known;
}

function checkUnigram(model: JsonObject): CheckedModel {
  const { vocab } = model;
  if (!Array.isArray(vocab) || vocab.length === 0 || vocab.length > MAX_VOCAB_SIZE) {
    throw malformed(`${FIELD}.vocab`, `must be a list of 1 to ${MAX_VOCAB_SIZE} pieces`);
  }
  const pieces = vocab.map((entry: unknown, id) => {
    const [piece, score] = Array.isArray(entry) ? (entry as unknown[]) : [];
    const isPiece = typeof piece === 'string' && piece.length <= MAX_UNIGRAM_PIECE;
    if (!isPiece || typeof score !== 'number' || !(Math.abs(score) < 1e30)) {
      const allowed = `must be [piece of at most ${MAX_UNIGRAM_PIECE} characters, score]`;
      throw malformed(`${FIELD}.vocab[${id}]`, allowed);
    }
    return piece;
  });
  const unknown = model['unk_id'] ?? undefined;
  if (unknown !== undefined && !isTokenId(unknown, vocab.length)) {
    throw malformed(`${FIELD}.unk_id`, 'must be the id of a piece');
  }
  const byte_fallback = booleanAt(model['byte_fallback'], `${FIELD}.byte_fallback`, false);
  const json = { type: 'Unigram', unk_id: unknown ?? null, vocab, byte_fallback };
  return { json, pieces, idOf: idsOf(pieces), size: vocab.length };
}

function checkBpe(model: JsonObject): CheckedModel {
  return withVocabulary(model, (idOf) => {
    const flag = (key: string) => booleanAt(model[key], `${FIELD}.${key}`, false);
    const text = (key: string) => optionalTextAt(model[key], `${FIELD}.${key}`) ?? null;
    const prefix = text('continuing_subword_prefix');
    return {
      type: 'BPE',
      // Dropout is for training a model on many ways to split; it would make results random.
      dropout: null,
      unk_token: text('unk_token'),
      continuing_subword_prefix: prefix,
      end_of_word_suffix: text('end_of_word_suffix'),
      fuse_unk: flag('fuse_unk'),
      byte_fallback: flag('byte_fallback'),
      ignore_merges: flag('ignore_merges'),
      merges: checkMerges(model['merges'], idOf, prefix ?? ''),
    };
  });
}

/** Pairs of pieces; each pair, joined, must be a piece. */
function checkMerges(
  merges: unknown,
  idOf: ReadonlyMap<string, number>,
  prefix: string,
): [string, string][] {
  if (!Array.isArray(merges) || merges.length > 4 * MAX_VOCAB_SIZE) {
    throw malformed(`${FIELD}.merges`, 'must be a list of pairs of pieces');
  }
  const pairs = merges.filter(
    (merge) => typeof merge !== 'string' || !merge.startsWith('#version'),
  );
  return pairs.map((merge: unknown, i) => {
    const parts: unknown = typeof merge === 'string' ? merge.split(' ') : merge;
    const [first, second, ...others] = Array.isArray(parts) ? (parts as unknown[]) : [];
    const isPair = typeof first === 'string' && typeof second === 'string' && others.length === 0;
    const joins =
      isPair &&
      second.startsWith(prefix) &&
      [first, second, first + second.slice(prefix.length)].every((piece) => idOf.has(piece));
    if (!joins) throw malformed(`${FIELD}.merges[${i}]`, 'must join two pieces to a third');
    return [first, second];
  });
}

function checkWordPiece(model: JsonObject): CheckedModel {
  const limit = model['max_input_chars_per_word'] ?? 100;
  if (!isTokenId(limit, MAX_WORD_LENGTH + 1)) {
    const field = `${FIELD}.max_input_chars_per_word`;
    throw malformed(field, `must be an integer from 0 to ${MAX_WORD_LENGTH}`);
  }
  const prefix = model['continuing_subword_prefix'] ?? '##';
  return withVocabulary(model, () => ({
    type: 'WordPiece',
    unk_token: unknownToken(model),
    continuing_subword_prefix: textAt(prefix, `${FIELD}.continuing_subword_prefix`),
    max_input_chars_per_word: limit,
  }));
}

function unknownToken(model: JsonObject): string {
  return optionalTextAt(model['unk_token'], `${FIELD}.unk_token`) ?? '[UNK]';
}

/** A model whose vocabulary maps pieces to ids. */
function withVocabulary(
  model: JsonObject,
  describe: (idOf: ReadonlyMap<string, number>) => JsonObject,
): CheckedModel {
  const { vocab } = model;
  const entries = isObject(vocab) ? Object.entries(vocab) : [];
  if (entries.length === 0 || entries.length > MAX_VOCAB_SIZE) {
    throw malformed(`${FIELD}.vocab`, 'must map pieces to ids');
  }
  const pieces: (string | undefined)[] = [];
  const idOf = new Map<string, number>();
  for (const [piece, id] of entries) {
    if (!isTokenId(id)) {
      throw malformed(
        `${FIELD}.vocab[${JSON.stringify(piece.slice(0, 80))}]`,
        'must be a token id',
      );
    }
    if (piece.length > MAX_PIECE_LENGTH) {
      throw malformed(`${FIELD}.vocab`, `has a piece of over ${MAX_PIECE_LENGTH} characters`);
    }
    pieces[id] = piece;
    idOf.set(piece, id);
  }
  return { json: { ...describe(idOf), vocab }, pieces, idOf, size: entries.length };
}

/** Of a piece that stands twice, the library takes the last. */
function idsOf(pieces: readonly string[]): ReadonlyMap<string, number> {
  return new Map(pieces.map((piece, id) => [piece, id]));
}
