/** The chunks of one streamed sequence. */
import type { DecodeTask } from './request-reader.ts';
import { SequenceText } from './sequence-text.ts';
import type { TokenAlternative, TokenChunk } from './types.ts';

/**
 * Tokens in, chunks out, so that the texts of all chunks are the text of the sequence: a chunk whose
 * text may yet be part of a character or of a stop string waits for the next token, or the end.
 */
export class SequenceChunks {
  readonly #sequence: number;
  readonly #task: DecodeTask;
  readonly #text: SequenceText | undefined;
  #held: TokenChunk | undefined;
  #tokens = 0;
  #stopped = false;

  constructor(sequence: number, task: DecodeTask) {
    this.#sequence = sequence;
    this.#task = task;
    const { tokenizer, stops, skipSpecialTokens, forcedPrefix } = task;
    this.#text =
      tokenizer && new SequenceText({ tokenizer, stops, skipSpecialTokens }, forcedPrefix);
  }

  push(tokenId: number, logProb: number, alternatives: TokenAlternative[] = []): TokenChunk[] {
    if (this.#stopped) return [];
    this.#tokens += 1;
    const before = this.#release();
    const result = this.#text?.push(tokenId);
    this.#stopped = result?.stopped ?? false;
    this.#held = {
      tokenId,
      sequence: this.#sequence,
      ...(result && { text: result.text }),
      ...(this.#task.options.logProbs && { logProb }),
      ...(alternatives.length > 0 && { topLogProbs: alternatives }),
    };
    if (this.#isLast(tokenId)) return [...before, ...this.end()];
    const holds = this.#text?.isHolding === true && !this.#stopped;
    return holds ? before : [...before, ...this.#release()];
  }

  /** What was held back, now that no token follows. */
  end(): TokenChunk[] {
    const [chunk] = this.#release();
    if (chunk === undefined) return [];
    if (this.#text === undefined || this.#stopped) return [chunk];
    return [{ ...chunk, text: (chunk.text ?? '') + this.#text.end().text }];
  }

  #isLast(tokenId: number): boolean {
    const { eosTokenIds, maxNewTokens } = this.#task.options;
    return eosTokenIds.includes(tokenId) || this.#tokens === maxNewTokens;
  }

  #release(): TokenChunk[] {
    const chunk = this.#held;
    this.#held = undefined;
    return chunk === undefined ? [] : [chunk];
  }
}
