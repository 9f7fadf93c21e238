/** The model that is timed in place of another, and that it can be. */
import { describe, expect, test } from '@jest/globals';
import { parseConfig } from '../../src/checkpoint/config.ts';
import { invalidArgument } from '../../src/errors.ts';
import { measureSteps } from '../../src/dtype/measure.ts';
import { probeConfig, probeOf, probeRows, probeShapeOf } from '../../src/dtype/probe.ts';
import { toNativeConfig } from '../../src/model/native-config.ts';
import { SHAPES } from '../../src/bench/shapes.ts';
import { callNative, native } from '../../src/native.ts';
import { failureOf } from '../support/errors.ts';
import { TINY_V10 } from '../support/tiny-model.ts';

function configOf(config: object) {
  return toNativeConfig(parseConfig({ model_type: 't5', ...config }, invalidArgument));
}

const BASE = configOf(SHAPES['t5-base']);

describe('the probe', () => {
  test('has the layers of the model, fewer of them, and as large a share of its vocabulary', () => {
    const probe = probeOf(probeShapeOf(BASE), 8);
    expect(probe).toMatchObject({ dModel: 768, dFf: 3072, heads: 12, dKv: 64, selfKvHeads: 12 });
    expect(probe.layers).toBeLessThan(BASE.decoderLayers);
    expect(probe.vocabSize / BASE.vocabSize).toBeCloseTo(probe.layers / BASE.decoderLayers, 3);
  });

  test('of a small model is the model', () => {
    const tiny = configOf(TINY_V10);
    expect(probeOf(probeShapeOf(tiny), 1)).toEqual(probeShapeOf(tiny));
  });

  test('is small enough to be timed soon, however large the model', () => {
    const huge = configOf({ ...SHAPES['t5-base'], d_model: 4096, d_ff: 65_536, num_heads: 128 });
    for (const config of [BASE, huge]) {
      for (const rows of [1, 8, 32]) {
        const { dModel, dKv, dFf, heads, layers, vocabSize } = probeOf(probeShapeOf(config), rows);
        const layer = dModel * (6 * dKv * heads + 2 * dFf);
        expect(layers * layer + dModel * vocabSize).toBeLessThan(2 ** 25);
        expect(layers).toBeGreaterThanOrEqual(1);
      }
    }
  });

  test.each([
    [3, 3],
    [1, 1],
    [12, 6],
  ])('keeps groups when it is narrowed: %d and %d K/V heads', (self, cross) => {
    const shape = { ...probeShapeOf(BASE), dModel: 8192, dFf: 32_768, heads: 48 };
    const given = { ...shape, selfKvHeads: 4 * self, crossKvHeads: 4 * cross };
    const probe = probeOf(given, 8);
    expect(probe.heads).toBeLessThan(48);
    expect(probe.heads / probe.selfKvHeads).toBe(12 / self);
    expect(probe.heads / probe.crossKvHeads).toBe(12 / cross);
  });

  test('takes the K/V heads that are nearest to the mean over the layers', () => {
    const kvHeads = { ...BASE.kvHeads, 'decoder.self': [12, 1, 1, 2] };
    expect(probeShapeOf({ ...BASE, kvHeads })).toMatchObject({ selfKvHeads: 4, crossKvHeads: 12 });
  });

  test('is timed at the next power of two of rows, and at 32 at most', () => {
    expect([1, 2, 3, 8, 9, 33, 64, 65, 1024].map(probeRows)).toEqual([
      1, 2, 4, 8, 16, 32, 32, 32, 32,
    ]);
  });
});

test('steps are timed in every type, of grouped, gated and converted models alike', async () => {
  const converted = {
    ...configOf(TINY_V10),
    gated: true,
    mergedModules: ['decoder.self' as const],
    granularity: 'head' as const,
    kvHeads: { ...configOf(TINY_V10).kvHeads, 'decoder.self': 1 },
  };
  for (const config of [configOf(TINY_V10), converted]) {
    const found = await measureSteps(config, 3, 2);
    expect(Object.keys(found)).toEqual(['float32', 'bfloat16', 'int8']);
    for (const one of Object.values(found)) {
      expect(one).toBeGreaterThan(0);
      expect(one).toBeLessThan(Infinity);
    }
  }
});

describe('timing', () => {
  const config = configOf(TINY_V10);
  const sizes = { threads: 1, rows: 2, sourceTokens: 17, targetTokens: 3, seconds: 0 };

  test('has three rounds at least, and none of a type that there is not', async () => {
    const types = [
      { dtype: 'float32', cacheDtype: 'int8' },
      { dtype: 'float16', cacheDtype: 'float32' },
      { dtype: 'float32', cacheDtype: 'float16' },
      { dtype: 'int8', cacheDtype: 'float32' },
    ] as const;
    const found = await native().measureSteps(config, types, sizes);
    expect(found.map((rounds) => rounds.length)).toEqual([3, 0, 0, 3]);
  });

  test.each(['rows', 'sourceTokens', 'targetTokens'])('of no %s is refused', async (name) => {
    const types = [{ dtype: 'float32', cacheDtype: 'float32' }] as const;
    const work = () =>
      callNative(async () => native().measureSteps(config, types, { ...sizes, [name]: 0 }));
    expect(await failureOf(work)).toEqual({ code: 'INVALID_ARGUMENT', field: name });
  });

  test('leaves the event loop free', async () => {
    let turns = 0;
    const timer = setInterval(() => ++turns, 5);
    await measureSteps(BASE, 1, 1);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(5);
  });
});

test('a probe has nothing that a step does not read', () => {
  const config = configOf({ ...TINY_V10, eos_token_id: 5 });
  expect(probeConfig(config, probeShapeOf(config))).toMatchObject({
    encoderLayers: 1,
    mergedModules: [],
    expandedModules: [],
    eosTokenIds: [],
  });
});
