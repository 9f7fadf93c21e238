/** A tokenizer as its files describe it, checked: what the library takes, and what is known beside. */
import { checkAddedTokens, namedToken, type TokenFiles } from './added-tokens.ts';
import {
  checkDecoder,
  checkNormalizer,
  checkPostProcessor,
  checkPreTokenizer,
  growthOf,
  type Component,
} from './components.ts';
import type { JsonObject } from './checks.ts';
import { checkModel } from './model.ts';

export { isObject, malformed, unsupported, type JsonObject } from './checks.ts';
export type { TokenFiles } from './added-tokens.ts';
export type { Component } from './components.ts';

export interface Description {
  /** What the library takes. */
  readonly library: JsonObject;
  readonly decoder: Component;
  /** The text of each token, where there is one. */
  readonly tokens: readonly (string | undefined)[];
  readonly addedIds: readonly number[];
  /** Tokens that texts are searched for after they were normalised. */
  readonly normalizedIds: readonly number[];
  /** Tokens that text leaves out. */
  readonly specialIds: readonly number[];
  readonly padTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  /** By how many times normalising may lengthen a text. */
  readonly growth: number;
}

/**
 * @throws WgqaError `INVALID_FILE` where something is malformed, `UNSUPPORTED` where it is a part that
 *   this package does not know or that may run without bound
 */
export function describeTokenizer(files: TokenFiles): Description {
  const { tokenizer } = files;
  const model = checkModel(tokenizer['model']);
  const added = checkAddedTokens(files, model);
  const normalizer = checkNormalizer(tokenizer['normalizer']);
  const decoder = checkDecoder(tokenizer['decoder']);
  const tokens = [...model.pieces];
  for (const [id, { content }] of added.byId) tokens[id] = content;
  const idsWhere = (has: 'special' | 'normalized') =>
    [...added.byId].filter(([, token]) => token[has]).map(([id]) => id);
  const addedIdOf = new Map([...added.byId].map(([id, { content }]) => [content, id]));
  const find = (key: string, usual: string) => {
    const name = namedToken(files, key) ?? usual;
    return addedIdOf.get(name) ?? model.idOf.get(name);
  };
  return {
    library: {
      version: '1.0',
      truncation: null,
      padding: null,
      added_tokens: added.list,
      normalizer,
      pre_tokenizer: checkPreTokenizer(tokenizer['pre_tokenizer']),
      post_processor: checkPostProcessor(tokenizer['post_processor']),
      decoder,
      model: model.json,
    },
    decoder,
    tokens,
    addedIds: [...added.byId.keys()],
    normalizedIds: idsWhere('normalized'),
    specialIds: idsWhere('special'),
    padTokenId: find('pad_token', '<pad>'),
    eosTokenId: find('eos_token', '</s>'),
    unkTokenId: find('unk_token', '<unk>'),
    growth: growthOf(normalizer),
  };
}
