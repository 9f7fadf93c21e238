/** Training with bfloat16 products, and with blocks that are run again instead of kept. */
import { describe, expect, test } from '@jest/globals';
import { createModel, Trainer, type TrainerOptions } from '../../src/index.ts';
import { parseOutput, programCommand, runChild } from '../support/child.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf } from '../support/errors.ts';
import { GOLDEN_CASES, loadGoldenModel, readGolden } from '../support/golden.ts';
import { tinyBatch, tinyModel, TINY_V10 } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();

const OPTIONS: TrainerOptions = {
  optimizer: { type: 'adamw', learningRate: 1e-2 },
  dropout: 0.1,
  seed: 3,
  computeDtype: 'bfloat16',
};

/** Why this machine cannot train in bfloat16; undefined if it can. */
async function whyNot(): Promise<string | undefined> {
  await using model = await tinyModel();
  const error = await new Trainer(model, OPTIONS)
    .step(tinyBatch())
    .catch((cause: unknown) => cause);
  return error instanceof Error ? error.message : undefined;
}

const reason = await whyNot();
if (reason !== undefined) process.stderr.write(`mixed precision is not tested here: ${reason}\n`);
const inBFloat16 = reason === undefined ? describe : describe.skip;

inBFloat16('mixed precision', () => {
  test('resumes bit for bit', async () => {
    const batches = [1, 2, 3, 4, 5, 6].map((seed) => tinyBatch(seed));
    await using whole = new Trainer(await tinyModel(), OPTIONS);
    const losses: number[] = [];
    for (const batch of batches) losses.push((await whole.step(batch)).loss);

    const first = new Trainer(await tinyModel(), OPTIONS);
    for (const batch of batches.slice(0, 3)) await first.step(batch);
    const directory = newDirectory();
    await first.save(directory);
    await first.model.dispose();
    await using second = await Trainer.resume(directory);
    const resumed: number[] = [];
    for (const batch of batches.slice(3)) resumed.push((await second.step(batch)).loss);
    expect(resumed).toEqual(losses.slice(3));
    for (const name of whole.model.parameters().keys()) {
      const expected = await whole.model.readParameter(name);
      expect((await second.model.readParameter(name)).data).toEqual(expected.data);
    }
    await Promise.all([whole.model.dispose(), second.model.dispose()]);
  });

  test.each(GOLDEN_CASES)('lowers the loss of %s as float32 does', async (name) => {
    const golden = await readGolden(name);
    const { lr: learningRate, betas, eps: epsilon, weight_decay } = golden.case.optimizer;
    const optimizer = {
      type: 'adamw',
      learningRate,
      betas,
      epsilon,
      weightDecay: weight_decay,
    } as const;
    const model = await loadGoldenModel(name, golden);
    const trainer = new Trainer(model, { optimizer, dropout: 0, computeDtype: 'bfloat16' });
    const losses: number[] = [];
    const { losses: expected } = golden.case;
    while (losses.length < expected.length) {
      losses.push((await trainer.step(golden.batch)).loss);
    }
    const [first = NaN, last = NaN] = [expected[0], expected.at(-1)];
    expect(first - last).toBeGreaterThan(0);
    // A loss is off by the rounding of some ten products in a row, 2^-9 each, ...
    expect(Math.abs((losses[0] ?? NaN) - first)).toBeLessThan(0.02 * first);
    // ... while Adam's first steps make the sign of a gradient near 0 a step of full length.
    expect((losses[0] ?? NaN) - (losses.at(-1) ?? NaN)).toBeGreaterThan(0.75 * (first - last));
    await model.dispose();
  });

  test('leaves weights, gradients and optimiser in float32', async () => {
    await using model = await tinyModel();
    const trainer = new Trainer(model, OPTIONS);
    await trainer.step(tinyBatch());
    const { data } = await model.readParameter('shared.weight');
    const bits = new Uint32Array(data.buffer, data.byteOffset, data.length);
    expect(bits.some((word) => (word & 0xffff) !== 0)).toBe(true);
  });
});

test('a processor without bfloat16 products refuses it; nothing changes', async () => {
  const limited = ['env', 'ONEDNN_MAX_CPU_ISA=AVX2', 'DNNL_MAX_CPU_ISA=AVX2'] as const;
  const result = await runChild([...limited, ...programCommand('train-bfloat16.ts', [])]);
  expect(parseOutput(result)).toEqual({
    code: 'UNSUPPORTED',
    field: 'computeDtype',
    allowed: "'float32'",
    steps: 0,
  });
});

test.each([{ computeDtype: 'float16' }, { activationCheckpointing: 1 }])(
  'refuses %p',
  async (wrong) => {
    await using model = await tinyModel();
    const make = (): Trainer => new Trainer(model, { ...OPTIONS, ...wrong } as TrainerOptions);
    const { code, field } = await errorOf(async () => Promise.resolve(make()));
    expect({ code, field }).toEqual({ code: 'INVALID_ARGUMENT', field: Object.keys(wrong)[0] });
  },
);

test('activation checkpointing: the same steps in less memory', async () => {
  const run = async (activationCheckpointing: boolean): Promise<unknown[]> => {
    const config = { ...TINY_V10, num_layers: 8, num_decoder_layers: 8 };
    await using model = await createModel(config, { seed: 7 });
    const options = { ...OPTIONS, computeDtype: 'float32', activationCheckpointing } as const;
    const trainer = new Trainer(model, options);
    const losses: number[] = [];
    let scratchBytes = 0;
    for (let i = 0; i < 3; ++i) {
      const step = await trainer.step(tinyBatch());
      losses.push(step.loss);
      ({ scratchBytes } = step);
    }
    return [losses, scratchBytes];
  };
  const [kept, keptBytes] = await run(false);
  const [again, againBytes] = await run(true);
  expect(again).toEqual(kept);
  expect(againBytes).toBeLessThan(0.4 * Number(keptBytes));
});
