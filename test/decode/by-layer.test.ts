/** Decoding with K/V heads that differ from layer to layer, folded or not. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  Engine,
  kvHeadsOf,
  loadModel,
  type CacheDtype,
  type ConvertOptions,
  type Model,
} from '../../src/index.ts';
import { LONG, nextTokenLogProbs, referencedBlocks, tokensOf } from '../support/decoding.ts';
import { goldenModelDirectory } from '../support/golden.ts';
import { randomRows } from '../support/tiny-model.ts';

const PROMPTS = randomRows(53, [6, 21, 3, 38]);
/** Of six heads and two decoder layers. */
const KV_HEADS = { 'decoder.self': [1, 6], 'decoder.cross': [3, 2] } as const;
// Log-probabilities of the same float32 model, summed in another order.
const TOLERANCE = 2e-5;

/** Trained, so that its tokens depend on the source. */
async function convertedModel(options: ConvertOptions): Promise<Model> {
  await using source = await loadModel(goldenModelDirectory('t5v11-wgqa3'));
  return await source.convert(options);
}

const CASES: readonly (readonly [string, ConvertOptions])[] = [
  ['pooled', { kvHeads: KV_HEADS, merge: 'mean' }],
  ['self-attention alone', { kvHeads: { 'decoder.self': [3, 2] }, merge: 'mean' }],
  ['weighted', { kvHeads: KV_HEADS, merge: 'weighted', granularity: 'column', init: 'random' }],
  ['expanded', { kvHeads: KV_HEADS, merge: 'mean', expansion: true }],
];

describe.each(CASES)('%s', (_name, options) => {
  let model: Model;
  let engine: Engine;
  beforeAll(async () => {
    model = await convertedModel(options);
    engine = new Engine(model, { kvCache: { blockSize: 4 } });
  });
  afterAll(async () => {
    await model.dispose();
  });

  test('greedy: each token is the best of the full forward pass', async () => {
    for (const inputIds of PROMPTS) {
      const [tokenIds = []] = await tokensOf(engine, { inputIds, ...LONG });
      const logProbs = await nextTokenLogProbs(model, inputIds, tokenIds);
      for (const [step, token] of tokenIds.entries()) {
        const own = logProbs[step]?.[token] ?? NaN;
        expect(Math.max(...(logProbs[step] ?? [])) - own).toBeLessThan(TOLERANCE);
      }
    }
  });

  test('beams: the score is the probability of the sequence in the full forward pass', async () => {
    for (const inputIds of PROMPTS) {
      const request = { inputIds, ...LONG, numBeams: 3 };
      const { sequences } = await engine.generate(request);
      const { tokenIds = [], score = NaN } = sequences[0] ?? {};
      const logProbs = await nextTokenLogProbs(model, inputIds, tokenIds);
      const sum = tokenIds.reduce((total, id, step) => total + (logProbs[step]?.[id] ?? NaN), 0);
      expect(Math.abs(score - sum / tokenIds.length)).toBeLessThan(TOLERANCE);
    }
  });

  test.each<CacheDtype>(['float32', 'bfloat16', 'int8'])(
    'the bytes of a %s cache are those of all layers',
    async (dtype) => {
      await using other = new Engine(model, { kvCache: { dtype } });
      await tokensOf(other, { inputIds: [5, 6, 7], ...LONG });
      expect(other.stats().cacheBytesPerToken).toEqual({
        selfAttention: bytesOf(model, 'decoder.self', dtype),
        crossAttention: bytesOf(model, 'decoder.cross', dtype),
      });
    },
  );
});

/** K and V of a token: int8 has a scale of four bytes for each key and each value of a head. */
function bytesOf(
  { config }: Model,
  module: 'decoder.self' | 'decoder.cross',
  dtype: CacheDtype,
): number {
  const { d_kv: headDim, num_decoder_layers: layers } = config;
  const headBytes = {
    float32: 4 * headDim,
    float16: 2 * headDim,
    bfloat16: 2 * headDim,
    int8: headDim + 4,
  }[dtype];
  const kvHeads = Array.from({ length: layers }, (_, layer) => kvHeadsOf(config, module, layer));
  return 2 * headBytes * kvHeads.reduce((sum, heads) => sum + heads, 0);
}

describe('folded and unfolded', () => {
  let unfolded: Model;
  let folded: Model;
  beforeAll(async () => {
    unfolded = await convertedModel({
      kvHeads: KV_HEADS,
      merge: 'weighted',
      init: 'random',
      alignment: 'orthogonal',
      expansion: true,
    });
    folded = await unfolded.fold();
  });
  afterAll(async () => {
    await Promise.all([unfolded.dispose(), folded.dispose()]);
  });

  test.each<CacheDtype>(['float32', 'bfloat16', 'int8'])(
    'generate the same, alone and together, with a %s cache',
    async (dtype) => {
      const kvCache = { dtype, blockSize: 4 };
      await using one = new Engine(unfolded, { kvCache });
      await using other = new Engine(folded, { kvCache });
      for (const options of [{}, { numBeams: 3, numReturnSequences: 3 }]) {
        const requests = PROMPTS.map((inputIds) => ({ inputIds, ...LONG, ...options }));
        const alone: number[][][] = [];
        for (const request of requests) alone.push(await tokensOf(one, request));
        const together = requests.map((request) => tokensOf(other, request));
        expect(await Promise.all(together)).toEqual(alone);
      }
    },
  );

  test('beams share the blocks of what they have in common, and a source is encoded once', async () => {
    await using engine = new Engine(folded, { kvCache: { blockSize: 4 } });
    const [, inputIds = []] = PROMPTS;
    const seen: [number, number][] = [];
    const logitsProcessors = [() => void seen.push(referencedBlocks(engine.stats()))];
    const beams = { inputIds, ...LONG, numBeams: 4, numReturnSequences: 4 };
    const { sequences, cachedPromptTokens } = await engine.generate({ ...beams, logitsProcessors });
    expect(cachedPromptTokens).toBe(0);
    const sourceBlocks = Math.ceil(inputIds.length / 4);
    expect(seen.every(([, cross]) => cross === sourceBlocks)).toBe(true);
    const most = Math.max(...seen.map(([self]) => self));
    expect(most).toBeGreaterThan(LONG.maxNewTokens / 4);
    expect(most).toBeLessThan((4 * LONG.maxNewTokens) / 4);
    const again = await engine.generate(beams);
    expect(again.cachedPromptTokens).toBe(inputIds.length);
    expect(again.sequences).toEqual(sequences);
  });

  test('a cache too small for all at once changes no tokens', async () => {
    const requests = PROMPTS.map((inputIds) => ({ inputIds, ...LONG, numBeams: 2 }));
    await using roomy = new Engine(folded);
    const expected: number[][][] = [];
    for (const request of requests) expected.push(await tokensOf(roomy, request));
    const { selfAttention, crossAttention } = roomy.stats().cacheBytesPerToken;
    const maxBytes = 60 * selfAttention + 60 * crossAttention;
    await using tight = new Engine(folded, { kvCache: { blockSize: 4, maxBytes } });
    const results = await Promise.all(requests.map((request) => tight.generate(request)));
    const tokens = results.map(({ sequences }) => sequences.map(({ tokenIds }) => tokenIds));
    expect(tokens).toEqual(expected);
    expect(results.some(({ preemptions }) => preemptions > 0)).toBe(true);
  });
});

describe('computed in', () => {
  test.each(['bfloat16', 'int8'] as const)('%s: runs, and close to float32', async (dtype) => {
    const directory = goldenModelDirectory('t5v11-wgqa3');
    await using source = await loadModel(directory, { dtype });
    const options = {
      kvHeads: KV_HEADS,
      merge: 'weighted',
      init: 'random',
      expansion: true,
    } as const;
    await using reduced = await source.convert(options);
    await using exact = await convertedModel(options);
    await using engine = new Engine(reduced);
    await using reference = new Engine(exact);
    for (const inputIds of PROMPTS) {
      const request = { inputIds, maxNewTokens: 1, eosTokenId: 99, logProbs: true };
      const [actual, expected] = [
        await engine.generate(request),
        await reference.generate(request),
      ];
      const difference =
        (actual.sequences[0]?.logProbs?.[0] ?? NaN) - (expected.sequences[0]?.logProbs?.[0] ?? NaN);
      expect(Math.abs(difference)).toBeLessThan(0.1);
    }
  });
});
