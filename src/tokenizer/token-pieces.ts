/** What each token of a vocabulary adds to a text, as a table that needs no tokenizer. */
import { WgqaError } from '../errors.ts';
import { isObject, type JsonObject } from './files.ts';

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
  readonly isAdded: (piece: string) => boolean;
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
export function makeTokenPieces(decoder: unknown, vocabulary: Vocabulary): TokenPieces {
  const steps = decoderSteps(decoder, vocabulary);
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

function decoderSteps(decoder: unknown, vocabulary: Vocabulary): readonly Step[] {
  // Without a decoder, pieces are joined by spaces.
  if (decoder === null || decoder === undefined) return [step((piece) => ` ${piece}`, true)];
  if (!isObject(decoder)) throw unsupported(decoder);
  switch (decoder['type']) {
    case 'Sequence':
      return sequenceSteps(decoder, vocabulary);
    case 'Metaspace':
      return [metaspaceStep(decoder)];
    case 'Replace':
      return [replaceStep(decoder)];
    case 'ByteFallback':
      return [step(fallbackByte)];
    case 'ByteLevel':
      return [step((piece) => (vocabulary.isAdded(piece) ? piece : byteLevelBytes(piece)))];
    case 'Fuse':
      return [];
    case 'Strip':
      return [stripStep(decoder)];
    default:
      throw unsupported(decoder['type']);
  }
}

/** Texts are changed token by token, then perhaps to bytes, then joined, then perhaps cut. */
const TOKEN_BY_TOKEN = /^((Replace|Metaspace) )*((ByteFallback|ByteLevel) )?(Fuse (Strip )?)?$/;

function sequenceSteps({ decoders }: JsonObject, vocabulary: Vocabulary): readonly Step[] {
  const parts: readonly unknown[] = Array.isArray(decoders) ? decoders : [];
  const types = parts.map((part) => (isObject(part) ? part['type'] : undefined));
  if (!TOKEN_BY_TOKEN.test(types.map((type) => `${String(type)} `).join(''))) {
    throw unsupported(types);
  }
  return parts.flatMap((part) => decoderSteps(part, vocabulary));
}

function step(apply: Step['apply'], stripsFirstSpace = false): Step {
  return { apply, stripsFirstSpace };
}

function metaspaceStep({ replacement = '▁' }: JsonObject): Step {
  return step((piece) => piece.replaceAll(String(replacement), ' '), true);
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

function fallbackByte(piece: string): string | Uint8Array {
  const [, digits] = /^<0x([0-9a-fA-F]{2})>$/.exec(piece) ?? [];
  return digits === undefined ? piece : Uint8Array.of(Number.parseInt(digits, 16));
}

function byteLevelBytes(piece: string): Uint8Array {
  return Uint8Array.from(piece, (character) => byteOfCharacter.get(character) ?? 0);
}

/** GPT-2's printable stand-ins for bytes: a byte itself, or the next character from U+0100 on. */
const byteOfCharacter: ReadonlyMap<string, number> = (() => {
  let next = 0x100;
  const isPrintable = (byte: number) =>
    (byte > 0x20 && byte < 0x7f) || (byte > 0xa0 && byte !== 0xad);
  return new Map(
    Array.from({ length: 256 }, (_, byte) => [
      String.fromCharCode(isPrintable(byte) ? byte : next++),
      byte,
    ]),
  );
})();

function unsupported(kind: unknown): WgqaError {
  const field = 'tokenizer.json: decoder';
  return new WgqaError(
    'UNSUPPORTED',
    `stop strings cannot be found with ${field} ${JSON.stringify(kind)}`,
    { field, allowed: 'Metaspace, ByteLevel, or Replace, ByteFallback, Fuse and Strip of a space' },
  );
}
