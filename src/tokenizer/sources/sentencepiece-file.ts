/** A model file of SentencePiece: the part of its sentencepiece_model.proto that a tokenizer needs. */
import protobuf from 'protobufjs/light.js';
import { malformed } from '../description/index.ts';

/** ModelProto.SentencePiece.Type. */
export const PIECE_TYPES = {
  normal: 1,
  unknown: 2,
  control: 3,
  userDefined: 4,
  unused: 5,
  byte: 6,
} as const;

/** TrainerSpec.ModelType. */
export const MODEL_TYPES = { unigram: 1, bpe: 2, word: 3, char: 4 } as const;

export interface SentencePiece {
  readonly text: string;
  /** Log probability; of BPE, the negative of its rank. */
  readonly score: number;
  readonly type: number;
}

export interface SentencePieceModel {
  /** In the order of their ids. */
  readonly pieces: readonly SentencePiece[];
  readonly modelType: number;
  readonly byteFallback: boolean;
  readonly whitespaceIsSuffix: boolean;
  /** The normaliser's compiled character map, empty where there is none. */
  readonly charsMap: Uint8Array;
  readonly addsDummyPrefix: boolean;
  readonly removesExtraWhitespace: boolean;
  readonly escapesWhitespace: boolean;
}

/** A field; where a file lacks it, `usual` is read. */
const field = (id: number, type: string, usual?: unknown): protobuf.IField => ({
  ...{ id, type },
  ...(usual !== undefined && { options: { default: usual } }),
});

/** As of proto2: a field that holds its type's zero is told from one that is absent. */
const message = (fields: Record<string, protobuf.IField>): protobuf.IType => ({
  fields,
  options: { features: { field_presence: 'EXPLICIT' } },
});

const SCHEMA = protobuf.Root.fromJSON({
  nested: {
    Model: message({
      pieces: { ...field(1, 'Piece'), rule: 'repeated' },
      trainer: field(2, 'Trainer'),
      normalizer: field(3, 'Normalizer'),
    }),
    Piece: message({
      piece: field(1, 'string'),
      score: field(2, 'float'),
      type: field(3, 'int32', PIECE_TYPES.normal),
    }),
    Trainer: message({
      modelType: field(3, 'int32', MODEL_TYPES.unigram),
      whitespaceIsSuffix: field(24, 'bool'),
      byteFallback: field(35, 'bool'),
    }),
    Normalizer: message({
      charsMap: field(2, 'bytes'),
      addDummyPrefix: field(3, 'bool', true),
      removeExtraWhitespaces: field(4, 'bool', true),
      escapeWhitespaces: field(5, 'bool', true),
    }),
  },
});
const MODEL = SCHEMA.lookupType('Model');

interface ModelMessage {
  readonly pieces: readonly {
    readonly piece: string;
    readonly score: number;
    readonly type: number;
  }[];
  readonly trainer: {
    readonly modelType: number;
    readonly whitespaceIsSuffix: boolean;
    readonly byteFallback: boolean;
  } | null;
  readonly normalizer: {
    readonly charsMap: Uint8Array;
    readonly addDummyPrefix: boolean;
    readonly removeExtraWhitespaces: boolean;
    readonly escapeWhitespaces: boolean;
  } | null;
}

/** @throws WgqaError `INVALID_FILE` where the bytes are no such file or hold no pieces */
export function readSentencePiece(bytes: Uint8Array, name: string): SentencePieceModel {
  const { pieces, trainer, normalizer } = decode(bytes, name);
  if (pieces.length === 0) throw malformed(name, 'holds no sentence pieces');
  return {
    pieces: pieces.map(({ piece, score, type }, id) => {
      if (Number.isFinite(score)) return { text: piece, score, type };
      throw malformed(`${name}: piece ${id}`, 'has a score that is no number');
    }),
    modelType: trainer?.modelType ?? MODEL_TYPES.unigram,
    byteFallback: trainer?.byteFallback ?? false,
    whitespaceIsSuffix: trainer?.whitespaceIsSuffix ?? false,
    charsMap: Uint8Array.from(normalizer?.charsMap ?? []),
    addsDummyPrefix: normalizer?.addDummyPrefix ?? true,
    removesExtraWhitespace: normalizer?.removeExtraWhitespaces ?? true,
    escapesWhitespace: normalizer?.escapeWhitespaces ?? true,
  };
}

function decode(bytes: Uint8Array, name: string): ModelMessage {
  try {
    return MODEL.decode(bytes) as unknown as ModelMessage;
  } catch (cause) {
    throw malformed(name, 'is no model file of SentencePiece', cause);
  }
}
