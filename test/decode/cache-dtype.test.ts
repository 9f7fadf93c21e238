import { afterAll, describe, expect, test } from '@jest/globals';
import { createModel, Engine, kvHeadsOf, type CacheDtype } from '../../src/index.ts';
import { LONG, talkativeModel, tokensOf } from '../support/decoding.ts';
import { errorOf } from '../support/errors.ts';
import { randomRows, TINY_V10 } from '../support/tiny-model.ts';

const PROMPTS = randomRows(77, [40, 3, 17, 33, 8]);
const model = await talkativeModel();

afterAll(async () => {
  await model.dispose();
});

function engineOf(dtype: CacheDtype, blockSize = 16): Engine {
  return new Engine(model, { kvCache: { dtype, blockSize } });
}

/** Of the token that a source is followed by. */
async function firstLogProb(dtype: CacheDtype, inputIds: number[]): Promise<number> {
  await using engine = engineOf(dtype);
  const { sequences } = await engine.generate({ inputIds, maxNewTokens: 1, logProbs: true });
  return sequences[0]?.logProbs?.[0] ?? NaN;
}

test('a float16 cache is refused where there is no GPU for it', async () => {
  await using onCpu = await createModel({ ...TINY_V10 }, { device: 'cpu' });
  const work = (): Engine => new Engine(onCpu, { kvCache: { dtype: 'float16' } });
  expect(await errorOf(work)).toMatchObject({
    code: 'UNSUPPORTED',
    field: 'kvCache.dtype',
    allowed: "'float32' | 'bfloat16' | 'int8'",
  });
  const unknown = 'float64' as CacheDtype;
  expect(await errorOf(() => new Engine(onCpu, { kvCache: { dtype: unknown } }))).toMatchObject({
    code: 'INVALID_ARGUMENT',
    field: 'kvCache.dtype',
    allowed: "'float32' | 'float16' | 'bfloat16' | 'int8'",
  });
});

describe('an int8 cache', () => {
  test('takes a byte for each element and four for each key and value of a head', async () => {
    const { num_decoder_layers: layers, d_kv: headDim } = model.config;
    const kvHeads = kvHeadsOf(model.config, 'decoder.self', 0);
    for (const [dtype, bytes] of [
      ['int8', headDim + 4],
      ['bfloat16', 2 * headDim],
    ] as const) {
      await using engine = engineOf(dtype);
      await tokensOf(engine, { inputIds: [5, 6, 7], ...LONG });
      const { cacheBytesPerToken } = engine.stats();
      expect(cacheBytesPerToken.selfAttention).toBe(2 * layers * kvHeads * bytes);
    }
  });

  test('gives the tokens of a request alone, in a batch and with any size of blocks', async () => {
    await using alone = engineOf('int8');
    const expected: number[][][] = [];
    for (const inputIds of PROMPTS) expected.push(await tokensOf(alone, { inputIds, ...LONG }));
    for (const blockSize of [16, 7, 64]) {
      await using engine = engineOf('int8', blockSize);
      const together = PROMPTS.map((inputIds) => tokensOf(engine, { inputIds, ...LONG }));
      expect(await Promise.all(together)).toEqual(expected);
    }
  });

  // A key or value is off by at most 1/254 of its largest component; what that does to a
  // log-probability of this model was at most 0.005 when this was written.
  test('changes log-probabilities a little', async () => {
    let largest = 0;
    for (const inputIds of PROMPTS) {
      const exact = await firstLogProb('float32', inputIds);
      largest = Math.max(largest, Math.abs((await firstLogProb('int8', inputIds)) - exact));
    }
    expect(largest).toBeGreaterThan(0);
    expect(largest).toBeLessThan(0.03);
  });
});
