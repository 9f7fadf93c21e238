/**
 * Reads what a Unigram `.model` file of SentencePiece holds that a tokenizer needs. The file is a
 * protocol buffer (`ModelProto` of SentencePiece's sentencepiece_model.proto).
 */

export interface SentencePieceModel {
  /** Pieces in id order with their log probabilities. */
  readonly pieces: readonly { readonly text: string; readonly score: number }[];
  /** The normaliser's compiled character map, empty where there is none. */
  readonly charsMap: Uint8Array;
}

interface Field {
  readonly number: number;
  readonly bytes: Uint8Array;
}

const MODEL_PIECES = 1;
const MODEL_NORMALIZER = 3;
const PIECE_TEXT = 1;
const PIECE_SCORE = 2;
const NORMALIZER_CHARS_MAP = 2;

/** Throws `Error` when the bytes are no protocol buffer or hold no pieces. */
export function readSentencePiece(bytes: Uint8Array): SentencePieceModel {
  const fields = [...readFields(bytes)];
  const pieces = fields.filter((field) => field.number === MODEL_PIECES).map(readPiece);
  if (pieces.length === 0) throw new Error('the file holds no sentence pieces');
  const normalizer = fields.find((field) => field.number === MODEL_NORMALIZER);
  const charsMap = [...readFields(normalizer?.bytes ?? new Uint8Array())].find(
    (field) => field.number === NORMALIZER_CHARS_MAP,
  );
  return { pieces, charsMap: charsMap?.bytes ?? new Uint8Array() };
}

function readPiece({ bytes }: Field): { text: string; score: number } {
  let text = '';
  let score = 0;
  for (const field of readFields(bytes)) {
    if (field.number === PIECE_TEXT) text = Buffer.from(field.bytes).toString('utf8');
    if (field.number === PIECE_SCORE) score = Buffer.from(field.bytes).readFloatLE();
  }
  return { text, score };
}

/** The fields of one message; a varint's bytes are left empty, since none is needed here. */
function* readFields(message: Uint8Array): Generator<Field> {
  let offset = 0;
  const varint = () => {
    let value = 0;
    for (let shift = 0; shift < 56; shift += 7) {
      const byte = message[offset];
      if (byte === undefined) break;
      offset += 1;
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new Error(`malformed number at byte ${String(offset)}`);
  };
  while (offset < message.length) {
    const key = varint();
    let length = 0;
    switch (key % 8) {
      case 0:
        varint();
        break;
      case 1:
        length = 8;
        break;
      case 2:
        length = varint();
        break;
      case 5:
        length = 4;
        break;
      default:
        throw new Error(`unknown wire type ${String(key % 8)} at byte ${String(offset)}`);
    }
    if (offset + length > message.length) throw new Error(`cut off at byte ${String(offset)}`);
    yield { number: Math.floor(key / 8), bytes: message.subarray(offset, offset + length) };
    offset += length;
  }
}
