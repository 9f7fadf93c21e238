/**
 * What fails or is aborted half-way changes nothing, to the bit. Optimiser state cannot be read from
 * outside, so a twin that was never disturbed shows it: the next steps of both must agree.
 */
import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, test } from '@jest/globals';
import {
  createModel,
  Engine,
  Trainer,
  type GenerationResult,
  type Model,
} from '../../src/index.ts';
import { failureOf } from '../support/errors.ts';

// Large enough that a step takes tens of milliseconds, so that it can be aborted in the middle.
const CONFIG = {
  vocab_size: 2000,
  d_model: 128,
  d_kv: 32,
  d_ff: 512,
  num_layers: 4,
  num_heads: 4,
  dropout_rate: 0.1,
};
const OPTIMIZERS = [
  { type: 'adamw', learningRate: 1e-3 },
  { type: 'adafactor', learningRate: 1e-3 },
] as const;

const row = (length: number): number[] => Array.from({ length }, (_, i) => 2 + ((7 * i) % 1900));
const BATCH = {
  inputIds: [row(120), row(96), row(64)],
  labels: [row(100), row(40), row(80)],
};

describe.each(OPTIMIZERS)('a training step with $type', (optimizer) => {
  let models: [Model, Model];
  let trainers: [Trainer, Trainer];

  beforeEach(async () => {
    models = [await createModel(CONFIG), await createModel(CONFIG)];
    const [disturbed, twin] = models;
    trainers = [new Trainer(disturbed, { optimizer }), new Trainer(twin, { optimizer })];
    await Promise.all(trainers.map((trainer) => trainer.step(BATCH)));
  });

  afterEach(async () => {
    await Promise.all(models.map((model) => model.dispose()));
  });

  const expectTwins = async (): Promise<void> => {
    const [disturbed, twin] = models;
    expect(trainers[0].stepCount).toBe(trainers[1].stepCount);
    expect(await checksums(disturbed)).toEqual(await checksums(twin));
  };

  test('that is aborted, early or late', async () => {
    const [trainer, twin] = trainers;
    const { milliseconds } = await trainer.step(BATCH);
    await twin.step(BATCH);
    for (const share of [0.1, 0.5, 0.8]) {
      const signal = AbortSignal.timeout(Math.round(share * milliseconds));
      const [outcome] = await Promise.allSettled([trainer.step(BATCH, { signal })]);
      // A step that was quicker this time is done; then the twin takes it too.
      if (outcome.status === 'fulfilled') await twin.step(BATCH);
      else expect(outcome.reason).toMatchObject({ code: 'ABORTED' });
      await expectTwins();
    }
    await Promise.all([trainer.step(BATCH), twin.step(BATCH)]);
    await expectTwins();
  });

  test.each([
    ['NaN', NaN],
    ['infinite', Infinity],
  ])('whose loss or gradient is not finite: %s', async (_kind, value) => {
    const [model, twin] = models;
    const name = 'decoder.block.1.layer.2.DenseReluDense.wo.weight';
    const good = await model.readParameter(name);
    const bad = { data: good.data.map((x, i) => (i === 5 ? value : x)), shape: good.shape };
    await model.writeParameter(name, bad);
    const before = await checksums(model);
    expect(await failureOf(() => trainers[0].step(BATCH))).toMatchObject({ code: 'NON_FINITE' });
    expect(await checksums(model)).toEqual(before);
    await model.writeParameter(name, good);
    await Promise.all(trainers.map((trainer) => trainer.step(BATCH)));
    expect(await checksums(model)).toEqual(await checksums(twin));
  });
});

describe('decoding', () => {
  let model: Model;
  beforeEach(async () => {
    model = await createModel(CONFIG);
  });
  afterEach(async () => {
    await model.dispose();
  });

  const request = { inputIds: row(60), maxNewTokens: 400, minNewTokens: 400 };

  test.each([1, 3])('that is aborted gives its blocks back: %i beams', async (numBeams) => {
    await using engine = new Engine(model);
    const before = await checksums(model);
    const short = { inputIds: row(30), maxNewTokens: 12, numBeams };
    const expected = await engine.generate(short);
    const signal = AbortSignal.timeout(20);
    const failure = failureOf(() => engine.generate({ ...request, numBeams }, { signal }));
    // Decoded in the same batch, and not disturbed.
    const beside = engine.generate(short);
    expect(await failure).toMatchObject({ code: 'ABORTED' });
    expect(tokensOf(await beside)).toEqual(tokensOf(expected));
    const { blocks, running, queued, held } = engine.stats();
    expect({ running, queued, held }).toEqual({ running: 0, queued: 0, held: 0 });
    expect([blocks.selfAttention.referenced, blocks.crossAttention.referenced]).toEqual([0, 0]);
    expect(tokensOf(await engine.generate(short))).toEqual(tokensOf(expected));
    expect(await checksums(model)).toEqual(before);
  });

  test('a stream whose reader leaves stops decoding', async () => {
    await using engine = new Engine(model);
    let read = 0;
    for await (const _ of engine.stream(request)) {
      read += 1;
      if (read === 3) break;
    }
    await engine.generate({ inputIds: row(5), maxNewTokens: 1 });
    expect(engine.stats().generatedTokens).toBeLessThan(request.maxNewTokens);
  });

  test('logits that are not finite fail the request alone', async () => {
    await using engine = new Engine(model);
    const name = 'decoder.final_layer_norm.weight';
    const good = await model.readParameter(name);
    await model.writeParameter(name, { data: good.data.map(() => NaN), shape: good.shape });
    const failed = await failureOf(() => engine.generate({ inputIds: row(5), maxNewTokens: 4 }));
    expect(failed).toMatchObject({ code: 'NON_FINITE' });
    await model.writeParameter(name, good);
    const { sequences } = await engine.generate({ inputIds: row(5), maxNewTokens: 4 });
    expect(sequences).toHaveLength(1);
  });
});

/** A digest of the bytes of every parameter. */
async function checksums(model: Model): Promise<Record<string, string>> {
  const sums: Record<string, string> = {};
  for (const name of model.parameters().keys()) {
    const { data } = await model.readParameter(name);
    sums[name] = createHash('sha1').update(data).digest('hex');
  }
  return sums;
}

function tokensOf({ sequences }: GenerationResult): number[][] {
  return sequences.map(({ tokenIds }) => tokenIds);
}
