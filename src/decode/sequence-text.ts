/** The text of one sequence while its tokens arrive, up to a stop string. */
import type { TextStream, Tokenizer } from '../tokenizer/index.ts';
import { StopStrings, type StopResult } from './stop-strings.ts';

export class SequenceText {
  /** Text of the forced prefix, in which stop strings do not count. */
  readonly prefix: string;
  readonly #stream: TextStream;
  readonly #stops: StopStrings;

  constructor(tokenizer: Tokenizer, stops: readonly string[], prefix: Iterable<number> = []) {
    this.#stream = tokenizer.createTextStream();
    this.#stops = new StopStrings(stops);
    this.prefix = this.#stream.push(prefix);
  }

  push(tokenId: number): StopResult {
    return this.#stops.push(this.#stream.push([tokenId]));
  }

  /** Whether text is held back that may belong to an unfinished character or a stop string. */
  get isHolding(): boolean {
    return this.#stream.isHolding || this.#stops.isHolding;
  }

  /** What was held back, now that no token follows. */
  end(): StopResult {
    const result = this.#stops.push(this.#stream.end());
    return result.stopped ? result : { ...result, text: result.text + this.#stops.end() };
  }
}

export interface CutSequence {
  readonly text: string;
  /** Tokens up to the one that completed a stop string, or all. */
  readonly length: number;
  readonly stopped: boolean;
}

/** Cuts a finished sequence at its first stop string behind the first `prefixLength` tokens. */
export function cutAtStop(
  tokenIds: readonly number[],
  prefixLength: number,
  tokenizer: Tokenizer,
  stops: readonly string[],
): CutSequence {
  const whole = tokenizer.decode(tokenIds);
  const uncut = { text: whole, length: tokenIds.length, stopped: false };
  // Mostly none is there, and one decoding of all tokens is much less work than one of each.
  if (!stops.some((stop) => whole.includes(stop))) return uncut;
  const sequence = new SequenceText(tokenizer, stops, tokenIds.slice(0, prefixLength));
  let text = sequence.prefix;
  for (let i = prefixLength; i < tokenIds.length; ++i) {
    const result = sequence.push(tokenIds[i] ?? 0);
    text += result.text;
    if (result.stopped) return { text, length: i + 1, stopped: true };
  }
  const last = sequence.end();
  return last.stopped ? { ...uncut, text: text + last.text, stopped: true } : uncut;
}
