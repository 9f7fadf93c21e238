import { WgqaError } from '../errors.ts';
import { checkOptions, integerIn, signalRule, type Rules } from '../options.ts';
import type { Example } from './dataset.ts';
import type { TextPair } from './pairs.ts';
import { takeTurns } from './turns.ts';

/** What is needed of a tokenizer. */
export interface TokenEncoder {
  /** Token ids with the end token, where there is one. */
  encode(text: string): Int32Array;
  readonly eosTokenId: number | undefined;
}

export interface TokenizeOptions {
  /** Longer sources lose their end, the end token stays. In tokens; default 512. */
  readonly maxSourceTokens?: number;
  /** The same for targets. In tokens; default 128. */
  readonly maxTargetTokens?: number;
  readonly signal?: AbortSignal;
}

export const TOKENIZE_RULES = {
  maxSourceTokens: integerIn(2),
  maxTargetTokens: integerIn(2),
  signal: signalRule,
} satisfies Rules;

/**
 * Encodes text pairs for training, letting other work run in between.
 *
 * @throws WgqaError `INVALID_ARGUMENT` for limits below 2, `ABORTED` when the signal fires.
 */
export async function tokenizePairs(
  pairs: Iterable<TextPair> | AsyncIterable<TextPair>,
  tokenizer: TokenEncoder,
  options: TokenizeOptions = {},
): Promise<Example[]> {
  const checked = checkOptions(options, TOKENIZE_RULES);
  const { maxSourceTokens = 512, maxTargetTokens = 128, signal } = checked;
  const encode = (text: string, limit: number) =>
    truncate(tokenizer.encode(text), limit, tokenizer.eosTokenId);
  const examples: Example[] = [];
  const letOthersRun = takeTurns();
  for await (const { source, target } of pairs) {
    if (signal?.aborted === true) {
      throw new WgqaError('ABORTED', 'tokenizing was aborted', { cause: signal.reason });
    }
    examples.push({
      inputIds: encode(source, maxSourceTokens),
      labels: encode(target, maxTargetTokens),
    });
    await letOthersRun();
  }
  return examples;
}

/** The first `limit` ids; the last one is the end token where `ids` ends with it. */
export function truncate(
  ids: Int32Array,
  limit: number,
  eosTokenId: number | undefined,
): Int32Array {
  if (ids.length <= limit) return ids;
  const kept = ids.slice(0, limit);
  if (eosTokenId !== undefined && ids.at(-1) === eosTokenId) kept[limit - 1] = eosTokenId;
  return kept;
}
