/** K/V heads by layer within a budget of bytes. */
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import {
  allocateKvHeads,
  createDataset,
  evaluateLoss,
  Trainer,
  type AllocateOptions,
  type Dataset,
  type KvHeadAllocation,
  type Model,
} from '../../src/index.ts';
import { logitsOf } from '../support/conversions.ts';
import { errorOf } from '../support/errors.ts';
import { randomRows, tinyModel, TINY_V10 } from '../support/tiny-model.ts';

const LAYERS = TINY_V10.num_decoder_layers;
const MODULES = ['decoder.self', 'decoder.cross'] as const;
/** K and V of a head in float32. */
const HEAD_BYTES = 2 * TINY_V10.d_kv * 4;
const ONE_EACH = 2 * LAYERS * HEAD_BYTES;
const ALL = 4 * ONE_EACH;
/** Layers of both modules, by fewer heads than all. */
const EVALUATIONS = 2 * LAYERS * 2;

let model: Model;
let calibration: Dataset;
let fresh: KvHeadAllocation;

// Trained on the calibration text until all heads matter: pooling any layer costs something.
beforeAll(async () => {
  calibration = calibrationText();
  model = await tinyModel();
  await using trainer = new Trainer(model, {
    optimizer: { type: 'adamw', learningRate: 1e-2 },
    dropout: 0,
  });
  for (let epoch = 0; epoch < 60; ++epoch) {
    for (const batch of calibration.batches(epoch)) await trainer.step(batch);
  }
  fresh = await allocate({ maxBytes: ALL });
});

afterAll(async () => {
  await model.dispose();
});

function calibrationText(): Dataset {
  const sources = randomRows(61, [9, 6, 12, 7]);
  const targets = randomRows(62, [5, 8, 4, 6]);
  const examples = sources.map((inputIds, i) => ({
    inputIds: Int32Array.from(inputIds),
    labels: Int32Array.from(targets[i] ?? []),
  }));
  return createDataset(examples, { batchSize: 2 });
}

function allocate(options: Partial<AllocateOptions>): Promise<KvHeadAllocation> {
  return allocateKvHeads(model, { maxBytes: ALL, calibration, ...options });
}

const uniform = (kvHeads: number) => {
  const layers = Array.from({ length: LAYERS }, () => kvHeads);
  return { 'decoder.self': layers, 'decoder.cross': layers };
};

function bytesOf({ kvHeads }: KvHeadAllocation, { source = 1, target = 1 } = {}): number {
  const sum = (layers: readonly number[] = []) => layers.reduce((total, heads) => total + heads, 0);
  const tokens = [sum(kvHeads['decoder.self']) * target, sum(kvHeads['decoder.cross']) * source];
  return HEAD_BYTES * (tokens[0]! + tokens[1]!);
}

/** The increase of loss that an allocation stands for: the sum of its layers'. */
function increaseOf({ kvHeads, sensitivities }: KvHeadAllocation): number {
  return sensitivities
    .filter((one) => kvHeads[one.module]?.[one.layer] === one.kvHeads)
    .reduce((sum, { lossIncrease }) => sum + lossIncrease, 0);
}

/** The least sum of all choices within `maxBytes`, by trying each. */
function leastIncrease(
  { sensitivities }: KvHeadAllocation,
  maxBytes: number,
  { source = 1, target = 1 } = {},
): number {
  let sums = [{ bytes: 0, increase: 0 }];
  for (const module of MODULES) {
    const tokens = module === 'decoder.self' ? target : source;
    for (let layer = 0; layer < LAYERS; ++layer) {
      const here = sensitivities.filter((one) => one.module === module && one.layer === layer);
      sums = sums.flatMap((sum) =>
        here.map(({ kvHeads, lossIncrease }) => ({
          bytes: sum.bytes + kvHeads * HEAD_BYTES * tokens,
          increase: sum.increase + lossIncrease,
        })),
      );
    }
  }
  return Math.min(...sums.filter(({ bytes }) => bytes <= maxBytes).map(({ increase }) => increase));
}

describe('what is measured', () => {
  test('is the loss with one layer pooled, for every layer and number of heads', async () => {
    const { loss, sensitivities } = fresh;
    expect(loss).toBe((await evaluateLoss(model, calibration)).loss);
    const keys = sensitivities.map(({ module, layer, kvHeads }) => `${module} ${layer} ${kvHeads}`);
    expect(new Set(keys).size).toBe(2 * LAYERS * 3);
    for (const { kvHeads, lossIncrease } of sensitivities) {
      if (kvHeads === 4) expect(lossIncrease).toBe(0);
      else expect(lossIncrease).toBeGreaterThan(0);
    }
    await using pooled = await model.convert({
      kvHeads: { 'decoder.cross': [4, 2, 4] },
      merge: 'mean',
    });
    const measured = sensitivities.find(
      ({ module, layer, kvHeads }) => module === 'decoder.cross' && layer === 1 && kvHeads === 2,
    );
    const increase = (await evaluateLoss(pooled, calibration)).loss - loss;
    expect(measured?.lossIncrease).toBe(increase);
  });

  test('with alignment is the loss of aligned heads', async () => {
    const aligned = await allocate({ alignment: 'orthogonal' });
    expect(aligned.loss).toBe(fresh.loss);
    const [first] = aligned.sensitivities;
    await using pooled = await model.convert({
      kvHeads: { 'decoder.self': [1, 4, 4] },
      merge: 'mean',
      alignment: 'orthogonal',
      calibration: calibration.batches(0),
    });
    expect(first).toMatchObject({ module: 'decoder.self', layer: 0, kvHeads: 1 });
    expect(first?.lossIncrease).toBe((await evaluateLoss(pooled, calibration)).loss - aligned.loss);
    expect(first?.lossIncrease).not.toBe(fresh.sensitivities[0]?.lossIncrease);
  });

  test('is counted', async () => {
    const seen: [number, number][] = [];
    await allocate({ onProgress: (done, total) => seen.push([done, total]) });
    expect(seen).toEqual(Array.from({ length: EVALUATIONS }, (_, i) => [i + 1, EVALUATIONS]));
  });
});

describe('the choice', () => {
  test('is all heads or one each where the budget is for them', async () => {
    expect(fresh).toMatchObject({ kvHeads: uniform(4), bytes: ALL });
    const least = await allocate({ maxBytes: ONE_EACH });
    expect(least).toMatchObject({ kvHeads: uniform(1), bytes: ONE_EACH });
  });

  test.each([ONE_EACH + HEAD_BYTES, ALL / 2, ALL / 2 + 100.5, ALL - 1])(
    'within %d bytes is the best of its sensitivities, and converts',
    async (maxBytes) => {
      const allocation = await allocate({ maxBytes });
      expect(allocation.sensitivities).toEqual(fresh.sensitivities);
      expect(allocation.bytes).toBe(bytesOf(allocation));
      expect(allocation.bytes).toBeLessThanOrEqual(maxBytes);
      expect(increaseOf(allocation)).toBeCloseTo(leastIncrease(allocation, maxBytes), 10);
      await using converted = await model.convert({ kvHeads: allocation.kvHeads, merge: 'mean' });
      expect(converted.config.num_key_value_heads).toEqual(allocation.kvHeads);
      expect((await logitsOf(converted)).data.every(Number.isFinite)).toBe(true);
    },
  );

  test.each([
    { sourceTokens: 512, targetTokens: 1 },
    { sourceTokens: 1, targetTokens: 512 },
    { sourceTokens: 100, targetTokens: 30 },
  ])('weighs modules by their tokens: $sourceTokens and $targetTokens', async (tokens) => {
    const weights = { source: tokens.sourceTokens, target: tokens.targetTokens };
    // Half of the heads of the module with more tokens, all of the other's.
    const [few = 0, many = 0] = Object.values(tokens).sort((a, b) => a - b);
    const maxBytes = HEAD_BYTES * (6 * many + 12 * few);
    const allocation = await allocate({ maxBytes, ...tokens });
    expect(allocation.bytes).toBe(bytesOf(allocation, weights));
    expect(allocation.bytes).toBeLessThanOrEqual(maxBytes);
    expect(increaseOf(allocation)).toBeCloseTo(leastIncrease(allocation, maxBytes, weights), 10);
    // With hardly a token, heads are as good as free.
    if (tokens.sourceTokens === 1) expect(allocation.kvHeads['decoder.cross']).toEqual([4, 4, 4]);
    if (tokens.targetTokens === 1) expect(allocation.kvHeads['decoder.self']).toEqual([4, 4, 4]);
  });
});

describe('refused is', () => {
  test.each<[string, object, string]>([
    ['no budget', { maxBytes: undefined }, 'maxBytes'],
    ['a budget of nothing', { maxBytes: 0 }, 'maxBytes'],
    ['an endless budget', { maxBytes: Infinity }, 'maxBytes'],
    ['a budget below one head each', { maxBytes: ONE_EACH - 1 }, 'maxBytes'],
    ['one that more tokens exceed', { maxBytes: ONE_EACH, sourceTokens: 2 }, 'maxBytes'],
    ['no source', { sourceTokens: 0 }, 'sourceTokens'],
    ['half a target token', { targetTokens: 0.5 }, 'targetTokens'],
    ['no text', { calibration: undefined }, 'calibration'],
    ['batches, not a dataset', { calibration: [] }, 'calibration'],
    ['a dataset of nothing', { calibration: { length: 0, batches: () => [] } }, 'calibration'],
    ['an unknown alignment', { alignment: 'diagonal' }, 'alignment'],
    ['a signal that is none', { signal: 'stop' }, 'signal'],
    ['progress to nobody', { onProgress: 1 }, 'onProgress'],
    ['an unknown option', { budget: 1 }, 'budget'],
  ])('%s', async (_name, options, field) => {
    const error = await errorOf(() => allocate(options));
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', field });
    expect(error.allowed).toBeTruthy();
  });

  test('what is no model, converted, or disposed', async () => {
    const options = { maxBytes: ALL, calibration };
    const none = undefined as unknown as Model;
    const refusal = { code: 'INVALID_ARGUMENT', field: 'model' };
    expect(await errorOf(() => allocateKvHeads(none, options))).toMatchObject(refusal);
    const converted = await model.convert({ preset: 'GQA' });
    expect(await errorOf(() => allocateKvHeads(converted, options))).toMatchObject(refusal);
    await converted.dispose();
    const { code } = await errorOf(() => allocateKvHeads(converted, options));
    expect(code).toBe('DISPOSED');
  });

  test('a model whose loss is no number', async () => {
    await using broken = await tinyModel();
    const name = 'decoder.block.2.layer.1.EncDecAttention.o.weight';
    const { data, shape } = await broken.readParameter(name);
    await broken.writeParameter(name, { data: data.fill(3e38), shape });
    const work = () => allocateKvHeads(broken, { maxBytes: ALL / 2, calibration });
    expect(await errorOf(work)).toMatchObject({ code: 'NON_FINITE', field: 'calibration' });
  });
});

describe('an abort', () => {
  test('before anything, and between two evaluations', async () => {
    const early = await errorOf(() => allocate({ signal: AbortSignal.abort('early') }));
    expect(early).toMatchObject({ code: 'ABORTED', cause: 'early' });
    const abort = new AbortController();
    let seen = 0;
    const onProgress = (done: number) => {
      seen = done;
      if (done === 3) abort.abort('enough');
    };
    const later = await errorOf(() => allocate({ signal: abort.signal, onProgress }));
    expect(later).toMatchObject({ code: 'ABORTED', cause: 'enough' });
    expect(seen).toBe(3);
    expect((await evaluateLoss(model, calibration)).loss).toBe(fresh.loss);
  });

  test('what onProgress throws ends it', async () => {
    const work = allocate({
      onProgress: () => {
        throw new RangeError('mine');
      },
    });
    await expect(work).rejects.toThrow(new RangeError('mine'));
  });
});
