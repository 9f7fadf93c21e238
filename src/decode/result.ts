/** Native results as the public API returns them. */
import type { NativeEngineStats } from '../native.ts';
import type { DecodeTask, FinishedRequest, FinishedSequence } from './request-reader.ts';
import { cutAtStop } from './sequence-text.ts';
import type { Source } from './source.ts';
import type {
  EngineStats,
  GeneratedSequence,
  GenerationResult,
  HitCounts,
  TokenAlternative,
} from './types.ts';

export function toResult(task: DecodeTask, event: FinishedRequest): GenerationResult {
  const sequences = (event.sequences ?? []).map((sequence) => toSequence(task, sequence));
  const { options, forcedPrefix } = task;
  const prefix = forcedPrefix.length;
  const { queueMilliseconds, totalMilliseconds } = event;
  return {
    sequences,
    missingSequences: options.numReturnSequences - sequences.length,
    promptTokens: seenTokens(task.source),
    ...(options.doSample && { seed: options.seed }),
    generatedTokens: sequences.reduce((sum, { tokenIds }) => sum + tokenIds.length - prefix, 0),
    queueMilliseconds,
    decodeMilliseconds: totalMilliseconds - queueMilliseconds,
    firstTokenMilliseconds: event.firstTokenMilliseconds,
    cachedPromptTokens: event.cachedPromptTokens,
    preemptions: event.preemptions,
  };
}

function seenTokens({ inputIds, mask }: Source): number {
  return mask === undefined ? inputIds.length : mask.reduce((sum, seen) => sum + seen, 0);
}

function toSequence(task: DecodeTask, sequence: FinishedSequence): GeneratedSequence {
  const { tokenizer, stops, skipSpecialTokens, forcedPrefix } = task;
  const { tokenIds, score, logProbs, finishReason } = sequence;
  const prefix = forcedPrefix.length;
  const reading = tokenizer && { tokenizer, stops, skipSpecialTokens };
  const cut = reading && cutAtStop([...tokenIds], prefix, reading);
  const length = cut?.length ?? tokenIds.length;
  const stopString = cut?.stopString;
  return {
    tokenIds: [...tokenIds.subarray(0, length)],
    ...(cut && { text: cut.text }),
    ...(score !== undefined && { score }),
    ...(logProbs && { logProbs: [...logProbs.subarray(0, length - prefix)] }),
    ...(sequence.topTokenIds && {
      topLogProbs: topLogProbsOf(task, sequence).slice(0, length - prefix),
    }),
    finishReason: stopString === undefined ? finishReason : 'stop',
    ...(stopString !== undefined && { stopString }),
  };
}

function topLogProbsOf(
  { options }: DecodeTask,
  { topTokenIds = new Int32Array(), topLogProbs = new Float32Array() }: FinishedSequence,
): TokenAlternative[][] {
  const count = options.topLogProbs;
  return Array.from({ length: topTokenIds.length / count }, (_, i) =>
    alternativesAt(topTokenIds, topLogProbs, i * count, count),
  );
}

/** The alternatives of one token; -1 stands for none. */
export function alternativesAt(
  tokenIds: Int32Array,
  logProbs: Float32Array,
  begin: number,
  count: number,
): TokenAlternative[] {
  const alternatives: TokenAlternative[] = [];
  for (let i = begin; i < begin + count; ++i) {
    const tokenId = tokenIds[i] ?? -1;
    if (tokenId >= 0) alternatives.push({ tokenId, logProb: logProbs[i] ?? 0 });
  }
  return alternatives;
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
