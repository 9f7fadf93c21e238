/** The source of a request: its tokens, and which of them the encoder may see. */
import { invalidArgument } from '../errors.ts';
import { readMaskRow, readTokenRow } from '../model/index.ts';
import type { NativeGenerationOptions } from '../native.ts';

export interface Source {
  /** Without padding before and behind. */
  readonly inputIds: Int32Array;
  /** 0 for tokens between others that are masked; absent where all are seen. */
  readonly mask?: Int32Array;
  /** Pad tokens stand between others, and no mask says whether they count. */
  readonly hasInnerPadding: boolean;
}

/**
 * Token ids with the caller's mask. Without one, pad tokens before and behind the others are
 * masked, unless they are end tokens, too, as Hugging Face's `generate` does
 * (_prepare_attention_mask_for_generation). It also masks those between others, which are seen here.
 * @throws WgqaError INVALID_ARGUMENT
 */
export function readSource(
  inputIds: unknown,
  attentionMask: unknown,
  { padTokenId, eosTokenIds }: Pick<NativeGenerationOptions, 'padTokenId' | 'eosTokenIds'>,
  vocab: number,
): Source {
  const ids = readTokenRow(inputIds, 'inputIds', vocab);
  if (attentionMask !== undefined) {
    return masked(ids, readMaskRow(attentionMask, 'attentionMask', ids.length));
  }
  if (eosTokenIds.includes(padTokenId)) return { inputIds: ids, hasInnerPadding: false };
  const isToken = (id: number): boolean => id !== padTokenId;
  const start = ids.findIndex(isToken);
  // Of pad tokens alone every one has the same state, and so the same as one that is seen.
  if (start < 0) return { inputIds: ids.subarray(0, 1), hasInnerPadding: false };
  const seen = ids.subarray(start, ids.findLastIndex(isToken) + 1);
  return { inputIds: seen, hasInnerPadding: seen.includes(padTokenId) };
}

function masked(ids: Int32Array, mask: Int32Array): Source {
  const start = mask.indexOf(1);
  const end = mask.lastIndexOf(1) + 1;
  const seen = mask.subarray(start, end);
  const source = { inputIds: ids.subarray(start, end), hasInnerPadding: false };
  return seen.includes(0) ? { ...source, mask: seen } : source;
}

/**
 * Native code knows no positions but those of tokens that follow each other.
 * @throws WgqaError INVALID_ARGUMENT where a token between others is masked
 */
export function checkNoHoles({ mask }: Source): void {
  if (mask === undefined) return;
  const allowed = '1 from the first to the last token: padded left or right';
  throw invalidArgument('attentionMask', allowed, 'holes');
}
