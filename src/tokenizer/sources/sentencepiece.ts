/** A lone model file of SentencePiece as the tokenizer.json that does the same. */
import { malformed, unsupported, type JsonObject } from '../description/index.ts';
import {
  MODEL_TYPES,
  PIECE_TYPES,
  readSentencePiece,
  type SentencePieceModel,
} from './sentencepiece-file.ts';

/** Tokenizers of Transformers whose ids are those of the file. */
const CLASSES: Readonly<Record<string, 't5' | 'llama'>> = {
  T5Tokenizer: 't5',
  MT5Tokenizer: 't5',
  LlamaTokenizer: 'llama',
  CodeLlamaTokenizer: 'llama',
  GemmaTokenizer: 'llama',
};
const T5_EXTRA_IDS = 100;
const SPACE = '▁';

/**
 * @param name the file's, for errors; of a "spiece.model", T5 is taken for granted
 * @param config tokenizer_config.json
 * @throws WgqaError `INVALID_FILE`, `UNSUPPORTED` for other classes of tokenizers than T5's and Llama's
 */
export function fromSentencePiece(bytes: Uint8Array, name: string, config: JsonObject): JsonObject {
  const model = readSentencePiece(bytes, name);
  const { modelType, whitespaceIsSuffix, escapesWhitespace } = model;
  if (modelType !== MODEL_TYPES.unigram && modelType !== MODEL_TYPES.bpe) {
    throw unsupported(`${name}: model type`, String(modelType), 'Unigram, BPE');
  }
  if (whitespaceIsSuffix || !escapesWhitespace) {
    throw unsupported(`${name}: white space`, 'after words', `"${SPACE}" before words`);
  }
  const family = familyOf(name, config);
  return {
    added_tokens: [...addedTokens(model), ...(family === 't5' ? extraIds(model, config) : [])],
    normalizer: normalizer(model),
    pre_tokenizer: preTokenizer(model),
    post_processor: template(model, family, config),
    decoder: decoder(model),
    model: modelType === MODEL_TYPES.unigram ? unigram(model, name) : bpe(model, name),
  };
}

function familyOf(name: string, config: JsonObject): 't5' | 'llama' {
  const given = config['tokenizer_class'];
  if (given === undefined || given === null) return name === 'spiece.model' ? 't5' : 'llama';
  const known = typeof given === 'string' ? given.replace(/Fast$/, '') : '';
  const family = Object.hasOwn(CLASSES, known) ? CLASSES[known] : undefined;
  if (family !== undefined) return family;
  const allowed = `${Object.keys(CLASSES).join(', ')}; transformers saves tokenizer.json for others`;
  throw unsupported('tokenizer_config.json: tokenizer_class', given, allowed);
}

const added = (id: number, content: string, special: boolean, strips = false): JsonObject => ({
  id,
  content,
  single_word: false,
  lstrip: strips,
  rstrip: strips,
  normalized: false,
  special,
});

/** Pieces that texts are searched for first: those of the user, and those that control a model. */
function addedTokens({ pieces }: SentencePieceModel): JsonObject[] {
  const { control, unknown, userDefined } = PIECE_TYPES;
  const types: readonly number[] = [control, unknown, userDefined];
  return [...pieces.entries()]
    .filter(([, { type, text }]) => types.includes(type) && text !== '')
    .map(([id, { text, type }]) => added(id, text, type !== userDefined));
}

/** T5's sentinels, which its SentencePiece file lacks; the first has the last id. */
function extraIds({ pieces }: SentencePieceModel, config: JsonObject): JsonObject[] {
  const count = config['extra_ids'] ?? T5_EXTRA_IDS;
  if (typeof count !== 'number' || !Number.isInteger(count) || count < 0 || count > 10_000) {
    throw malformed('tokenizer_config.json: extra_ids', 'must be an integer from 0 to 10000');
  }
  const known = new Set(pieces.map(({ text }) => text));
  if (known.has('<extra_id_0>')) return [];
  const last = pieces.length + count - 1;
  return Array.from({ length: count }, (_, i) => added(last - i, `<extra_id_${i}>`, true, true));
}

/** SentencePiece's normalising step by step: its map, its spaces, its mark before the first word. */
function normalizer(model: SentencePieceModel): JsonObject {
  const replace = (pattern: object, content: string) => ({ type: 'Replace', pattern, content });
  const { charsMap, addsDummyPrefix, removesExtraWhitespace } = model;
  const table = Buffer.from(charsMap).toString('base64');
  return {
    type: 'Sequence',
    normalizers: [
      ...(table === '' ? [] : [{ type: 'Precompiled', precompiled_charsmap: table }]),
      ...(removesExtraWhitespace
        ? [replace({ Regex: ' {2,}' }, ' '), replace({ Regex: String.raw`\A | \z` }, '')]
        : []),
      ...(addsDummyPrefix ? [{ type: 'Prepend', prepend: SPACE }] : []),
      replace({ String: ' ' }, SPACE),
      // Of marks that the text itself ends with, too.
      ...(removesExtraWhitespace ? [replace({ Regex: `${SPACE}{1,16}\\z` }, '')] : []),
    ],
  };
}

/** Words one by one are remembered, and faster; the same where no piece reaches into the next word. */
function preTokenizer({ pieces }: SentencePieceModel): JsonObject | null {
  const isWhole = pieces.some(({ text }) => text.includes(SPACE, 1));
  if (isWhole || !pieces.some(({ text }) => text === SPACE)) return null;
  return { type: 'Metaspace', replacement: SPACE, prepend_scheme: 'never', split: true };
}

function decoder({ byteFallback, addsDummyPrefix }: SentencePieceModel): JsonObject {
  return {
    type: 'Sequence',
    decoders: [
      { type: 'Replace', pattern: { String: SPACE }, content: ' ' },
      ...(byteFallback ? [{ type: 'ByteFallback' }] : []),
      { type: 'Fuse' },
      ...(addsDummyPrefix ? [{ type: 'Strip', content: ' ', start: 1, stop: 0 }] : []),
    ],
  };
}

/** T5 ends a text with its end token, Llama begins one with its first; a file may say otherwise. */
function template(
  { pieces }: SentencePieceModel,
  family: 't5' | 'llama',
  config: JsonObject,
): JsonObject {
  const wants = (key: string, usual: boolean) =>
    typeof config[key] === 'boolean' ? config[key] : usual;
  const special = (text: string, wanted: boolean) => {
    const id = pieces.findIndex((piece) => piece.text === text);
    return wanted && id >= 0 ? [{ text, id }] : [];
  };
  const before = special('<s>', wants('add_bos_token', family === 'llama'));
  const after = special('</s>', wants('add_eos_token', family === 't5'));
  const piece = ({ text }: { text: string }) => ({ SpecialToken: { id: text, type_id: 0 } });
  const tokens = [...before, ...after].map(({ text, id }) => [
    text,
    { id: text, ids: [id], tokens: [text] },
  ]);
  return {
    type: 'TemplateProcessing',
    single: [...before.map(piece), { Sequence: { id: 'A', type_id: 0 } }, ...after.map(piece)],
    pair: [],
    special_tokens: Object.fromEntries(tokens) as JsonObject,
  };
}

function unknownId({ pieces }: SentencePieceModel, name: string): number {
  const id = pieces.findIndex(({ type }) => type === PIECE_TYPES.unknown);
  if (id < 0) throw malformed(name, 'has no unknown piece');
  return id;
}

function unigram(model: SentencePieceModel, name: string): JsonObject {
  return {
    type: 'Unigram',
    unk_id: unknownId(model, name),
    vocab: model.pieces.map(({ text, score }) => [text, score]),
    byte_fallback: model.byteFallback,
  };
}

function bpe(model: SentencePieceModel, name: string): JsonObject {
  const { pieces } = model;
  return {
    type: 'BPE',
    unk_token: pieces[unknownId(model, name)]!.text,
    fuse_unk: true,
    byte_fallback: model.byteFallback,
    vocab: Object.fromEntries(pieces.map(({ text }, id) => [text, id])),
    merges: merges(model),
  };
}

/** Every pair that joins to a piece, the best piece first: SentencePiece keeps no list of merges. */
function merges({ pieces }: SentencePieceModel): [string, string][] {
  const joinable = pieces.filter(({ type }) => type === PIECE_TYPES.normal);
  const known = new Set(joinable.map(({ text }) => text));
  return joinable
    .toSorted((a, b) => b.score - a.score)
    .flatMap(({ text }) => splits(text).filter((pair) => pair.every((part) => known.has(part))));
}

function splits(text: string): [string, string][] {
  const characters = Array.from(text);
  let first = '';
  return characters.slice(0, -1).map((character) => {
    first += character;
    return [first, text.slice(first.length)];
  });
}
