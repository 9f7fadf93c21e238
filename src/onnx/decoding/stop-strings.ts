/** Ends a sequence when its text comes to hold one of some strings, by the text of its tokens. */
import type { TokenPieces } from '../../tokenizer/index.ts';

/** The end of a sequence's text, as far as a stop string may begin in it. Never changed in place. */
export interface StopState {
  readonly tail: Buffer;
  readonly hasText: boolean;
  readonly stopped: boolean;
}

const START: StopState = { tail: Buffer.alloc(0), hasText: false, stopped: false };

export class StopStrings {
  readonly #strings: readonly Buffer[];
  readonly #pieces: TokenPieces | undefined;
  readonly #longest: number;

  constructor(strings: readonly string[], pieces: TokenPieces | undefined) {
    this.#strings = strings.map((string) => Buffer.from(string));
    this.#pieces = pieces;
    this.#longest = Math.max(0, ...this.#strings.map(({ length }) => length));
  }

  /** The state behind a prompt: stop strings begin after it, but it may have text. */
  after(prompt: readonly number[]): StopState {
    const hasText = prompt.some((token) => this.#pieceOf(token).length > 0);
    return { ...START, hasText };
  }

  /** The state after one more token. */
  push(state: StopState, token: number): StopState {
    let piece = this.#pieceOf(token);
    if (this.#strings.length === 0 || piece.length === 0) return state;
    const strips = !state.hasText && this.#pieces?.stripsFirstSpace === true;
    if (strips && piece[0] === 0x20) piece = piece.subarray(1);
    const text = Buffer.concat([state.tail, piece]);
    const stopped = this.#strings.some((string) => text.includes(string));
    // A string that is not complete yet has begun in the last bytes.
    return {
      tail: text.subarray(Math.max(0, text.length - this.#longest + 1)),
      hasText: true,
      stopped,
    };
  }

  #pieceOf(token: number): Uint8Array {
    const { bytes, offsets } = this.#pieces ?? {};
    const end = offsets?.[token + 1];
    return bytes === undefined || end === undefined
      ? START.tail
      : bytes.subarray(offsets?.[token], end);
  }
}
