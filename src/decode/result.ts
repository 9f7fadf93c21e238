/** Native results as the public API returns them. */
import type { NativeEngineStats } from '../native.ts';
import type { DecodeTask, FinishedRequest, FinishedSequence } from './request-reader.ts';
import { cutAtStop } from './sequence-text.ts';
import type { EngineStats, GeneratedSequence, GenerationResult, HitCounts } from './types.ts';

export function toResult(task: DecodeTask, event: FinishedRequest): GenerationResult {
  const sequences = (event.sequences ?? []).map((sequence) => toSequence(task, sequence));
  const prefix = task.forcedPrefix.length;
  const { queueMilliseconds, totalMilliseconds } = event;
  return {
    sequences,
    promptTokens: task.inputIds.length,
    generatedTokens: sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length - prefix, 0),
    queueMilliseconds,
    decodeMilliseconds: totalMilliseconds - queueMilliseconds,
    firstTokenMilliseconds: event.firstTokenMilliseconds,
    cachedPromptTokens: event.cachedPromptTokens,
    preemptions: event.preemptions,
  };
}

function toSequence(
  { tokenizer, stops, forcedPrefix }: DecodeTask,
  { tokenIds, score, logProbs, finishReason }: FinishedSequence,
): GeneratedSequence {
  const prefix = forcedPrefix.length;
  const cut = tokenizer && cutAtStop([...tokenIds], prefix, tokenizer, stops);
  const length = cut?.length ?? tokenIds.length;
  return {
    tokenIds: [...tokenIds.subarray(0, length)],
    ...(cut && { text: cut.text }),
    ...(score !== undefined && { score }),
    ...(logProbs && { logProbs: [...logProbs.subarray(0, length - prefix)] }),
    finishReason: cut?.stopped ? 'stop' : finishReason,
  };
}

export function toStats(native: NativeEngineStats): EngineStats {
  const { selfBytesPerToken, crossBytesPerToken, selfBlocks, crossBlocks, ...rest } = native;
  const { prefixTokens, prefixHits, sources, sourceHits, ...others } = rest;
  const { encodeSeconds, decodeSeconds, ...same } = others;
  return {
    ...same,
    cacheBytesPerToken: { selfAttention: selfBytesPerToken, crossAttention: crossBytesPerToken },
    blocks: { selfAttention: selfBlocks, crossAttention: crossBlocks },
    prefixCache: hitCounts(prefixTokens, prefixHits),
    sourceCache: hitCounts(sources, sourceHits),
    encodeMilliseconds: 1000 * encodeSeconds,
    decodeMilliseconds: 1000 * decodeSeconds,
  };
}

function hitCounts(lookups: number, hits: number): HitCounts {
  return { lookups, hits, hitRate: lookups === 0 ? 0 : hits / lookups };
}
