/** The text of one sequence while its tokens arrive, up to a stop string. */
import type { TextStream, Tokenizer } from '../tokenizer/index.ts';
import { StopStrings, type StopResult } from './stop-strings.ts';

export class SequenceText {
  readonly #stream: TextStream;
  readonly #stops: StopStrings;

  constructor(tokenizer: Tokenizer, stops: readonly string[]) {
    this.#stream = tokenizer.createTextStream();
    this.#stops = new StopStrings(stops);
  }

  /** Adds a token; `last` if none follows. */
  push(tokenId: number, last: boolean): StopResult {
    const text = this.#stream.push([tokenId]);
    const result = this.#stops.push(last ? text + this.#stream.end() : text);
    return last && !result.stopped ? { ...result, text: result.text + this.#stops.end() } : result;
  }
}

export interface CutSequence {
  readonly text: string;
  /** Tokens up to the one that completed a stop string, or all. */
  readonly length: number;
  readonly stopped: boolean;
}

/** Cuts a finished sequence at its first stop string. */
export function cutAtStop(
  tokenIds: readonly number[],
  tokenizer: Tokenizer,
  stops: readonly string[],
): CutSequence {
  const text = new SequenceText(tokenizer, stops);
  let all = '';
  for (const [i, tokenId] of tokenIds.entries()) {
    const result = text.push(tokenId, i + 1 === tokenIds.length);
    all += result.text;
    if (result.stopped) return { text: all, length: i + 1, stopped: true };
  }
  return { text: all, length: tokenIds.length, stopped: false };
}
