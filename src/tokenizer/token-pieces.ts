/** What each token of a vocabulary adds to a text, as a table that needs no tokenizer. */
import { WgqaError } from '../errors.ts';
import { decoderParts, fallbackByte, isTokenByToken } from './decoders.ts';
import { isObject, type Component, type JsonObject } from './description/index.ts';
import { byteCharacters } from './sources/byt5.ts';

export interface TokenPieces {
  /** UTF-8 text of all tokens, one after the other; of byte tokens, their byte. */
  readonly bytes: Uint8Array;
  /** Token i owns bytes [offsets[i], offsets[i + 1]); `vocabSize` + 1 numbers. */
  readonly offsets: Uint32Array;
  /** The text of a sequence lacks the space that its first piece begins with. */
  readonly stripsFirstSpace: boolean;
}

export interface Vocabulary {
  readonly size: number;
  /** The piece of an id, or undefined for special tokens and ids without a piece. */
  readonly pieceOf: (id: number) => string | undefined;
}

/** What one decoder makes of a single token. */
interface Step {
  /** Turns a piece into text, or into bytes where it stands for bytes. */
  readonly apply: (piece: string) => string | Uint8Array;
  readonly stripsFirstSpace: boolean;
}

/**
 * The pieces of `vocabulary` under the `decoder` of a tokenizer.json. Works for decoders that treat
 * tokens one by one but for the first space of a text.
 * @throws WgqaError UNSUPPORTED for others
 */
export function makeTokenPieces(decoder: Component, vocabulary: Vocabulary): TokenPieces {
  const steps = decoder === null ? SPACED : sequenceSteps(decoder);
  const offsets = new Uint32Array(vocabulary.size + 1);
  const pieces: Uint8Array[] = [];
  for (let id = 0; id < vocabulary.size; ++id) {
    const piece = vocabulary.pieceOf(id);
    const bytes = bytesOf(piece ?? '', piece === undefined ? [] : steps);
    pieces.push(bytes);
    offsets[id + 1] = (offsets[id] ?? 0) + bytes.length;
  }
  const bytes = new Uint8Array(offsets[vocabulary.size] ?? 0);
  for (const [id, piece] of pieces.entries()) bytes.set(piece, offsets[id]);
  return { bytes, offsets, stripsFirstSpace: steps.some((step) => step.stripsFirstSpace) };
}

function bytesOf(piece: string, steps: readonly Step[]): Uint8Array {
  let text = piece;
  for (const step of steps) {
    const result = step.apply(text);
    if (typeof result !== 'string') return result;
    text = result;
  }
  return Buffer.from(text);
}

/** Without a decoder, pieces are joined by spaces. */
const SPACED: readonly Step[] = [step((piece) => ` ${piece}`, true)];

function sequenceSteps(decoder: JsonObject): readonly Step[] {
  const parts = decoderParts(decoder);
  if (!isTokenByToken(parts)) throw unsupported(parts.map((part) => part['type']));
  return parts.flatMap(decoderSteps);
}

function decoderSteps(decoder: JsonObject): readonly Step[] {
  switch (decoder['type']) {
    case 'Metaspace':
      return [metaspaceStep(decoder)];
    case 'Replace':
      return [replaceStep(decoder)];
    case 'ByteFallback':
      return [step(bytesOfFallback)];
    case 'ByteLevel':
      return [step(byteLevelBytes)];
    case 'Fuse':
      return [];
    case 'Strip':
      return [stripStep(decoder)];
    default:
      throw unsupported(decoder['type']);
  }
}

function step(apply: Step['apply'], stripsFirstSpace = false): Step {
  return { apply, stripsFirstSpace };
}

function metaspaceStep({ replacement, prepend_scheme: scheme }: JsonObject): Step {
  return step((piece) => piece.replaceAll(String(replacement), ' '), scheme !== 'never');
}

function replaceStep({ pattern, content = '' }: JsonObject): Step {
  const text = isObject(pattern) ? pattern['String'] : undefined;
  if (typeof text !== 'string' || typeof content !== 'string') {
    throw unsupported('Replace of other than a text');
  }
  return step((piece) => piece.replaceAll(text, content));
}

function stripStep({ content, start = 0, stop = 0 }: JsonObject): Step {
  if (content !== ' ' || start !== 1 || stop !== 0)
    throw unsupported('Strip of other than a space');
  return step((piece) => piece, true);
}

function bytesOfFallback(piece: string): string | Uint8Array {
  const byte = fallbackByte(piece);
  return byte === undefined ? piece : Uint8Array.of(byte);
}

/** A piece with a character that stands for no byte, as added tokens may have, is text. */
function byteLevelBytes(piece: string): string | Uint8Array {
  const bytes = Array.from(piece, (character) => byteOfCharacter.get(character));
  return bytes.every((byte) => byte !== undefined) ? Uint8Array.from(bytes) : piece;
}

const byteOfCharacter: ReadonlyMap<string, number> = new Map(
  byteCharacters().map((character, byte) => [character, byte]),
);

function unsupported(kind: unknown): WgqaError {
  const field = 'tokenizer.json: decoder';
  return new WgqaError(
    'UNSUPPORTED',
    `stop strings cannot be found with ${field} ${JSON.stringify(kind)}`,
    { field, allowed: 'Metaspace, ByteLevel, or Replace, ByteFallback, Fuse and Strip of a space' },
  );
}
