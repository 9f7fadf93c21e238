/** The text of one sequence while its tokens arrive, up to a stop string. */
import type { TextStream, Tokenizer } from '../tokenizer/index.ts';
import { StopStrings, type StopResult } from './stop-strings.ts';

/** How tokens become text. */
export interface TextReading {
  readonly tokenizer: Tokenizer;
  readonly stops: readonly string[];
  readonly skipSpecialTokens: boolean;
}

export class SequenceText {
  /** Text of the forced prefix, in which stop strings do not count. */
  readonly prefix: string;
  readonly #stream: TextStream;
  readonly #stops: StopStrings;

  constructor(reading: TextReading, prefix: Iterable<number> = []) {
    const { tokenizer, stops, skipSpecialTokens } = reading;
    this.#stream = tokenizer.createTextStream({ skipSpecialTokens });
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
  /** The stop string that was there. */
  readonly stopString?: string;
}

/** Cuts a finished sequence at its first stop string behind the first `prefixLength` tokens. */
export function cutAtStop(
  tokenIds: readonly number[],
  prefixLength: number,
  reading: TextReading,
): CutSequence {
  const { tokenizer, stops, skipSpecialTokens } = reading;
  const whole = tokenizer.decode(tokenIds, { skipSpecialTokens });
  const uncut = { text: whole, length: tokenIds.length };
  // One decoding of all tokens is much less work than one of each.
  if (stops.length === 0 || !new StopStrings(stops).push(whole).stopped) return uncut;
  const sequence = new SequenceText(reading, tokenIds.slice(0, prefixLength));
  let text = sequence.prefix;
  for (let i = prefixLength; i < tokenIds.length; ++i) {
    const result = sequence.push(tokenIds[i] ?? 0);
    text += result.text;
    if (result.stopString !== undefined) {
      return { text, length: i + 1, stopString: result.stopString };
    }
  }
  const { text: rest, stopString } = sequence.end();
  return stopString === undefined ? uncut : { ...uncut, text: text + rest, stopString };
}
