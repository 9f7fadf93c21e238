/** Token pieces for texts that keep special tokens. */
import type { TokenPieces, Tokenizer } from '../tokenizer/index.ts';

/** `plain` with the text of special tokens, which have none there. */
export function withSpecialTokens(plain: TokenPieces, tokenizer: Tokenizer): TokenPieces {
  const size = plain.offsets.length - 1;
  const offsets = new Uint32Array(size + 1);
  const pieces: Uint8Array[] = [];
  for (let id = 0; id < size; ++id) {
    const begin = plain.offsets[id] ?? 0;
    const end = plain.offsets[id + 1] ?? begin;
    const piece =
      begin < end
        ? plain.bytes.subarray(begin, end)
        : Buffer.from(tokenizer.decode([id], { skipSpecialTokens: false }));
    pieces.push(piece);
    offsets[id + 1] = (offsets[id] ?? 0) + piece.length;
  }
  return { ...plain, bytes: Buffer.concat(pieces), offsets };
}
