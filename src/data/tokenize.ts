import { invalidArgument, WgqaError } from '../errors.ts';
import { checkOptions, integerIn, signalRule, type Rules } from '../options.ts';
import type { Example } from './dataset.ts';
import type { TextPair } from './pairs.ts';
import { takeTurns } from './turns.ts';

/** What is needed of a tokenizer. */
export interface TokenEncoder {
  /** Token ids with the end token, where there is one. */
  encode(text: string): Int32Array;
  /** Several texts in another thread; where it is absent, `encode` is called for each. */
  encodeBatchAsync?(texts: readonly string[]): Promise<Int32Array[]>;
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
  const examples: Example[] = [];
  const encode = encoderOf(tokenizer, signal);
  const { eosTokenId } = tokenizer;
  for await (const group of groups(pairs)) {
    const sources = await encode(group.map(({ source }) => source));
    const targets = await encode(group.map(({ target }) => target));
    for (const i of group.keys()) {
      examples.push({
        inputIds: truncate(sources[i]!, maxSourceTokens, eosTokenId),
        labels: truncate(targets[i]!, maxTargetTokens, eosTokenId),
      });
    }
  }
  return examples;
}

const GROUP_PAIRS = 64;
const GROUP_CHARACTERS = 1_000_000;

/** Some pairs at a time: enough to keep the other thread busy, few enough to be aborted in between. */
async function* groups(
  pairs: Iterable<TextPair> | AsyncIterable<TextPair>,
): AsyncGenerator<TextPair[]> {
  let group: TextPair[] = [];
  let characters = 0;
  for await (const pair of pairs) {
    if (!isPair(pair)) throw invalidArgument('pairs', 'pairs of texts: { source, target }', pair);
    group.push(pair);
    characters += pair.source.length + pair.target.length;
    if (group.length < GROUP_PAIRS && characters < GROUP_CHARACTERS) continue;
    yield group;
    group = [];
    characters = 0;
  }
  if (group.length > 0) yield group;
}

function isPair(value: unknown): value is TextPair {
  if (typeof value !== 'object' || value === null) return false;
  const { source, target } = value as Record<string, unknown>;
  return typeof source === 'string' && typeof target === 'string';
}

type EncodeAll = (texts: string[]) => Promise<Int32Array[]>;

/** Encodes in another thread where the tokenizer can, else letting other work run in between. */
function encoderOf(tokenizer: TokenEncoder, signal: AbortSignal | undefined): EncodeAll {
  const checkGoesOn = (): void => {
    if (signal?.aborted !== true) return;
    throw new WgqaError('ABORTED', 'tokenizing was aborted', { cause: signal.reason });
  };
  if (tokenizer.encodeBatchAsync !== undefined) {
    return async (texts) => {
      checkGoesOn();
      return tokenizer.encodeBatchAsync!(texts);
    };
  }
  const letOthersRun = takeTurns();
  return async (texts) => {
    const rows: Int32Array[] = [];
    for (const text of texts) {
      checkGoesOn();
      rows.push(tokenizer.encode(text));
      await letOthersRun();
    }
    return rows;
  };
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
