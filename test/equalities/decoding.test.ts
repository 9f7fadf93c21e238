/** Decoding over the cache, one token at a time, equals the whole forward pass. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Engine, type GenerationOptions, type Model } from '../../src/index.ts';
import { nextTokenLogProbs } from '../support/decoding.ts';
import { randomRows } from '../support/tiny-model.ts';
import { makeVariant, VARIANTS } from '../support/variants.ts';

// Log-probabilities of the same float32 model, summed in another order; measured up to 2e-6.
const TOLERANCE = 2e-5;
const TOKENS = 24;
const SOURCES = randomRows(9, [5, 17, 2, 33]);

describe.each(VARIANTS)('$name', (variant) => {
  let model: Model;
  let engine: Engine;

  beforeAll(async () => {
    model = await makeVariant(variant);
    // Blocks of four tokens, so that sequences cross several of them.
    engine = new Engine(model, { kvCache: { blockSize: 4 } });
  });

  afterAll(async () => {
    await model.dispose();
  });

  test('greedy: each token is the best of the full forward pass, with its probability', async () => {
    for (const source of SOURCES) {
      const { tokenIds, logProbs = [] } = await decode(engine, source, { logProbs: true });
      expect(tokenIds.length).toBeGreaterThan(1);
      const expected = await nextTokenLogProbs(model, source, tokenIds);
      for (const [step, token] of tokenIds.entries()) {
        const best = Math.max(...(expected[step] ?? []));
        const own = expected[step]?.[token] ?? NaN;
        expect(best - own).toBeLessThan(TOLERANCE);
        expect(Math.abs((logProbs[step] ?? NaN) - own)).toBeLessThan(TOLERANCE);
      }
    }
  });

  test('beams: the score is the probability of the sequence in the full forward pass', async () => {
    for (const source of SOURCES) {
      const options = { numBeams: 3, lengthPenalty: 0.8 };
      const { tokenIds, score = NaN } = await decode(engine, source, options);
      const expected = await nextTokenLogProbs(model, source, tokenIds);
      const sum = tokenIds.reduce((total, id, step) => total + (expected[step]?.[id] ?? NaN), 0);
      const normalised = sum / tokenIds.length ** options.lengthPenalty;
      expect(Math.abs(score - normalised)).toBeLessThan(TOLERANCE);
    }
  });

  test.each<[string, GenerationOptions]>([
    ['greedy', {}],
    ['beams', { numBeams: 3 }],
    ['samples', { doSample: true, seed: 3, temperature: 0.7 }],
  ])('%s: a batch of requests gives what each gives alone', async (_kind, options) => {
    const together = await Promise.all(SOURCES.map((source) => decode(engine, source, options)));
    for (const [i, source] of SOURCES.entries()) {
      const alone = await decode(engine, source, options);
      expect(together[i]?.tokenIds).toEqual(alone.tokenIds);
    }
  });
});

async function decode(engine: Engine, inputIds: number[], options: GenerationOptions) {
  const request = { inputIds, maxNewTokens: TOKENS, ...options };
  const { sequences } = await engine.generate(request);
  const [sequence] = sequences;
  if (sequence === undefined) throw new Error('no sequence');
  return sequence;
}
