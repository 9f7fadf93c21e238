/**
 * Checks SentencePiece's compiled character map (`precompiled_charsmap`): a double array (Darts) of
 * UTF-8 keys, then the texts that replace them, each ended by a zero. The library follows its links
 * unchecked: one that leads outside would end the process.
 */

/** The longest text that a character may become. Of NFKC, U+FDFA becomes 18. */
const MAX_REPLACEMENT = 64;

const HAS_LEAF = 1 << 8;
const LABEL_MASK = 0x800000ff;
const VALUE_MASK = 0x7fffffff;

export interface CharsMap {
  /** Characters of the longest replacement. */
  readonly growth: number;
}

/** What is known of a map, or why it cannot be used. */
export function readCharsMap(bytes: Uint8Array): CharsMap | string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const arrayBytes = bytes.length < 4 ? 0 : view.getUint32(0, true);
  if (arrayBytes === 0 || arrayBytes % 4 !== 0 || arrayBytes > bytes.length - 4) {
    return 'is cut off';
  }
  const units = Uint32Array.from({ length: arrayBytes / 4 }, (_, i) =>
    view.getUint32(4 + 4 * i, true),
  );
  const texts = bytes.subarray(4 + arrayBytes);
  if (!isUtf8(texts)) return 'holds replacements that are no UTF-8';
  return followLinks(units, texts);
}

/** Visits every state that a text could lead to. */
function followLinks(units: Uint32Array, texts: Uint8Array): CharsMap | string {
  const seen = new Uint8Array(units.length);
  const root = offsetOf(units[0]!);
  const states = [root];
  let growth = 1;
  for (let state = states.pop(); state !== undefined; state = states.pop()) {
    for (let byte = 1; byte < 256; ++byte) {
      const unit = units[(state ^ byte) >>> 0];
      if (unit === undefined) return 'has a link that leads outside';
      if ((unit & LABEL_MASK) >>> 0 !== byte) continue;
      const next = (state ^ byte ^ offsetOf(unit)) >>> 0;
      if (next >= units.length) return 'has a link that leads outside';
      if ((unit & HAS_LEAF) !== 0) {
        const length = replacementLength(texts, units[next]! & VALUE_MASK);
        if (length === undefined) return 'has a replacement that begins outside';
        growth = Math.max(growth, length);
      }
      if (seen[next] === 0) states.push(next);
      seen[next] = 1;
    }
  }
  return growth > MAX_REPLACEMENT ? `has a replacement of ${growth} characters` : { growth };
}

function offsetOf(unit: number): number {
  return ((unit >>> 10) << ((unit & (1 << 9)) >>> 6)) >>> 0;
}

/** Characters of the text that begins at `start`, or undefined where none begins there. */
function replacementLength(texts: Uint8Array, start: number): number | undefined {
  if (start > texts.length || isContinuation(texts[start] ?? 0)) return undefined;
  let characters = 0;
  for (let i = start; i < texts.length && texts[i] !== 0; ++i) {
    if (!isContinuation(texts[i]!)) characters += 1;
    if (characters > MAX_REPLACEMENT) break;
  }
  return characters;
}

function isContinuation(byte: number): boolean {
  return (byte & 0xc0) === 0x80;
}

function isUtf8(bytes: Uint8Array): boolean {
  try {
    new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    return true;
  } catch {
    return false;
  }
}
