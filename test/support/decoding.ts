/** What tests of the engine share: models that talk on and on, and waiting for what must come. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import {
  loadModel,
  type Engine,
  type EngineStats,
  type GenerationRequest,
  type Model,
  type TokenChunk,
} from '../../src/index.ts';
import { goldenModelDirectory } from './golden.ts';
import { logSoftmax } from './t5-float64.ts';
import { tinyModel, TINY_V10 } from './tiny-model.ts';
import { unigramTokenizer } from '../tokenizer/fixtures.ts';

/** The model likes to end at once; a token it never generates in place of its end token. */
export const LONG = { maxNewTokens: 24, eosTokenId: 99 } as const;

/** A request that only ends when something ends it, as far as a test can wait. */
export const ENDLESS = { inputIds: [5, 6, 7, 1], maxNewTokens: 4000, eosTokenId: 99 } as const;

/** Trained weights with merge weights, vocabulary 100: its tokens depend on the source. */
export async function talkativeModel(): Promise<Model> {
  const source = await loadModel(goldenModelDirectory('t5v11-wgqa3'));
  const model = await source.convert({ kvHeads: 3, merge: 'weighted' });
  await source.dispose();
  return model;
}

/** Saves a model with as many embeddings as its tokenizer has pieces: every token has text. */
export async function saveTextModel(directory: string, tokenizer = unigramTokenizer()) {
  const { vocab } = tokenizer['model'] as { vocab: readonly unknown[] | object };
  const size = Array.isArray(vocab) ? vocab.length : Object.keys(vocab).length;
  await using source = await tinyModel({ ...TINY_V10, vocab_size: size });
  await source.save(directory);
  await writeFile(path.join(directory, 'tokenizer.json'), JSON.stringify(tokenizer));
}

export async function tokensOf(engine: Engine, request: GenerationRequest): Promise<number[][]> {
  const { sequences } = await engine.generate(request);
  return sequences.map(({ tokenIds }) => tokenIds);
}

/** Log-probabilities of every next token in the full forward pass, given the tokens before it. */
export async function nextTokenLogProbs(
  model: Model,
  source: number[],
  tokenIds: readonly number[],
): Promise<Float64Array[]> {
  const decoderInputIds = [[0, ...tokenIds.slice(0, -1)]];
  const { logits } = await model.forward({ inputIds: [source], decoderInputIds });
  const vocab = model.config.vocab_size;
  return tokenIds.map((_, step) =>
    logSoftmax(Float64Array.from(logits.data.subarray(step * vocab, (step + 1) * vocab))),
  );
}

export async function collect(chunks: AsyncIterable<TokenChunk>): Promise<TokenChunk[]> {
  const all: TokenChunk[] = [];
  for await (const chunk of chunks) all.push(chunk);
  return all;
}

/** Waits until the engine's statistics satisfy `condition`. */
export async function until(
  engine: Engine,
  condition: (stats: EngineStats) => boolean,
): Promise<EngineStats> {
  for (;;) {
    const stats = engine.stats();
    if (condition(stats)) return stats;
    await new Promise((resolve) => setImmediate(resolve));
  }
}

/** Blocks that running requests read, in self- and cross-attention. */
export function referencedBlocks({ blocks }: EngineStats): [number, number] {
  return [blocks.selfAttention.referenced, blocks.crossAttention.referenced];
}
