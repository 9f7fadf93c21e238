/** What a stream needs of a tokenizer; `decodeIds` gets neither unknown nor skipped ids. */
export interface StreamDecoder {
  decodeIds(ids: readonly number[]): string;
  keepIds(ids: Iterable<number>): number[];
}

const REPLACEMENT_CHARACTER = '\ufffd';

/**
 * Turns tokens into text as they arrive. What `push` returns is final: the pieces, joined, are
 * exactly what `decode` makes of all the tokens, so a character whose bytes are spread over
 * several tokens is held back until its last one.
 *
 * The work per token does not grow with the text: new tokens are decoded behind one token of
 * context, which is all that decoders look back at (is this the first word, and is this byte
 * the rest of a character).
 */
export class TextStream {
  readonly #decoder: StreamDecoder;
  /** The last token whose text was returned; empty at the start. */
  #context: number[] = [];
  #contextText = '';
  #pending: number[] = [];

  constructor(decoder: StreamDecoder) {
    this.#decoder = decoder;
  }

  /** Adds tokens and returns the text that became final, possibly ''. */
  push(ids: Iterable<number>): string {
    this.#pending.push(...this.#decoder.keepIds(ids));
    const last = this.#pending.at(-1);
    if (last === undefined) return '';
    const text = this.#decoder.decodeIds([...this.#context, ...this.#pending]);
    // How decoders show a character of which bytes are missing.
    if (text.endsWith(REPLACEMENT_CHARACTER)) return '';
    const fresh = text.slice(this.#contextText.length);
    this.#context = [last];
    this.#contextText = this.#decoder.decodeIds(this.#context);
    this.#pending = [];
    return fresh;
  }

  /** Whether tokens wait for the rest of a character. */
  get isHolding(): boolean {
    return this.#pending.length > 0;
  }

  /** Returns what was held back; the stream is then ready for another sequence. */
  end(): string {
    const text =
      this.#pending.length === 0
        ? ''
        : this.#decoder
            .decodeIds([...this.#context, ...this.#pending])
            .slice(this.#contextText.length);
    this.#context = [];
    this.#contextText = '';
    this.#pending = [];
    return text;
  }
}
