import { fallbackByte, type DecoderKind } from './decoders.ts';

/** What a stream needs of a tokenizer; `decodeIds` gets neither unknown nor skipped ids. */
export interface StreamDecoder {
  readonly kind: DecoderKind;
  decodeIds(ids: readonly number[]): string;
  keepIds(ids: Iterable<number>): number[];
  tokenOf(id: number): string | undefined;
}

const REPLACEMENT_CHARACTER = '\ufffd';
/** Bytes of a character that another may still complete lie in fewer tokens. */
const LONGEST_CHARACTER = 4;
const LONGEST_WINDOW = 16;

/**
 * Turns tokens into text as they arrive. What `push` returns is final: the pieces, joined, are
 * exactly what `decode` makes of all the tokens, so a character whose bytes are spread over
 * several tokens is held back until its last one.
 *
 * The work per token does not grow with the text: new tokens are decoded behind a token of context,
 * which is all that decoders look back at (is this the first word, and is this byte the rest of a
 * character). Where a decoder looks further, text comes at the end of what it looks at.
 */
export class TextStream {
  readonly #decoder: StreamDecoder;
  /** Tokens of which some text was not returned, behind one or a few of which all was. */
  #window: number[] = [];
  /** How much of the window's text was returned. */
  #returned = 0;
  #holds = false;

  constructor(decoder: StreamDecoder) {
    this.#decoder = decoder;
  }

  /** Adds tokens and returns the text that became final, possibly ''. */
  push(ids: Iterable<number>): string {
    const kept = this.#decoder.keepIds(ids);
    for (const id of kept) this.#window.push(id);
    const last = kept.at(-1);
    if (last === undefined) return '';
    this.#holds = this.#mustWait(last);
    return this.#holds ? '' : this.#take();
  }

  /** Whether tokens wait for the rest of a character. */
  get isHolding(): boolean {
    return this.#holds;
  }

  /** Returns what was held back; the stream is then ready for another sequence. */
  end(): string {
    const text = this.#holds ? this.#decoder.decodeIds(this.#window).slice(this.#returned) : '';
    this.#window = [];
    this.#returned = 0;
    this.#holds = false;
    return text;
  }

  #mustWait(last: number): boolean {
    const { kind } = this.#decoder;
    if (kind === 'tokens') return false;
    return kind === 'whole' || fallbackByte(this.#decoder.tokenOf(last) ?? '') !== undefined;
  }

  #take(): string {
    const text = this.#decoder.decodeIds(this.#window);
    // How decoders show a character of which bytes are missing; all before it is final.
    this.#holds = text.endsWith(REPLACEMENT_CHARACTER);
    const end = this.#holds ? text.length - REPLACEMENT_CHARACTER.length : text.length;
    const fresh = text.slice(this.#returned, end);
    this.#returned = Math.max(this.#returned, end);
    if (!this.#holds) this.#keep(1);
    else if (this.#window.length > LONGEST_WINDOW) this.#keep(LONGEST_CHARACTER);
    return fresh;
  }

  /** Forgets all but the last tokens, whose text then counts as returned as far as it was. */
  #keep(tokens: number): void {
    this.#window = this.#window.slice(-tokens);
    const { length } = this.#decoder.decodeIds(this.#window);
    this.#returned = this.#holds ? length - REPLACEMENT_CHARACTER.length : length;
  }
}
