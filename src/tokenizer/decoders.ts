/** How the text of a token depends on its neighbours under the `decoder` of a tokenizer.json. */
import { isObject, type Component } from './description/index.ts';

/**
 * - `tokens`: on the token before it, and where its bytes are not a whole character, on the next.
 * - `byteRuns`: the same, but bytes in a row are one text: one invalid byte makes all of them invalid.
 * - `whole`: on any other.
 */
export type DecoderKind = 'tokens' | 'byteRuns' | 'whole';

/** Texts are changed token by token, then perhaps to bytes, then joined, then perhaps cut. */
const TOKEN_BY_TOKEN = /^((Replace|Metaspace) )*((ByteFallback|ByteLevel) )?(Fuse (Strip )?)?$/;
const SIMPLE_KINDS = ['Metaspace', 'ByteLevel', 'WordPiece', 'BPEDecoder', 'Fuse', 'Replace'];

export function decoderKind(decoder: Component): DecoderKind {
  if (decoder === null || SIMPLE_KINDS.includes(String(decoder['type']))) return 'tokens';
  const parts = decoderParts(decoder);
  if (!isTokenByToken(parts) || spacesCut(parts) > 1) return 'whole';
  const makesBytes = parts.some((part) => part['type'] === 'ByteFallback');
  if (!makesBytes) return 'tokens';
  // A replacement could make or break the name of a byte.
  const replaced = parts.filter((part) => part['type'] === 'Replace');
  return replaced.every(({ content }) => String(content).length <= 1) ? 'byteRuns' : 'whole';
}

/** How many spaces a decoder may cut from the start of a text; Metaspace cuts its first token's. */
function spacesCut(parts: readonly NonNullable<Component>[]): number {
  const cuts = parts.map(({ type, start, prepend_scheme: scheme }) => {
    if (type === 'Strip') return Number(start);
    return type === 'Metaspace' && scheme !== 'never' ? 1 : 0;
  });
  return cuts.reduce((sum, cut) => sum + cut, 0);
}

/** The parts of a sequence, or the one that stands in its place. */
export function decoderParts(decoder: NonNullable<Component>): readonly NonNullable<Component>[] {
  const { decoders } = decoder;
  if (decoder['type'] !== 'Sequence' || !Array.isArray(decoders)) return [decoder];
  return decoders.filter(isObject);
}

export function isTokenByToken(parts: readonly NonNullable<Component>[]): boolean {
  return TOKEN_BY_TOKEN.test(parts.map((part) => `${String(part['type'])} `).join(''));
}

/** The byte that a piece such as "<0x0A>" stands for under ByteFallback. */
export function fallbackByte(piece: string): number | undefined {
  const [, digits] = /^<0x([0-9a-fA-F]{2})>$/.exec(piece) ?? [];
  return digits === undefined ? undefined : Number.parseInt(digits, 16);
}
