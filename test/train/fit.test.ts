import { cp, readFile, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { describe, expect, test } from '@jest/globals';
import {
  createDataset,
  loadModel,
  Trainer,
  type Dataset,
  type Model,
  type StepReport,
  type TrainerOptions,
} from '../../src/index.ts';
import { useTemporaryDirectories } from '../support/directories.ts';
import { errorOf, failureOf } from '../support/errors.ts';
import { randomRows, tinyModel } from '../support/tiny-model.ts';

const newDirectory = useTemporaryDirectories();

const LENGTHS = [3, 9, 4, 5, 8, 2, 6, 7, 3, 4, 5];

function tinyDataset(): Dataset {
  const sources = randomRows(21, LENGTHS);
  const targets = randomRows(22, [...LENGTHS].reverse());
  const examples = sources.map((source, i) => ({
    inputIds: Int32Array.from(source),
    labels: Int32Array.from(targets[i] ?? []),
  }));
  return createDataset(examples, { batchSize: 3, seed: 5 });
}

const OPTIONS: TrainerOptions = {
  optimizer: { type: 'adamw', learningRate: 1e-2 },
  schedule: { type: 'linear', warmupRatio: 0.2 },
  dropout: 0.1,
  seed: 3,
  maxGradNorm: 1,
  accumulate: 2,
};

async function bytesOf(model: Model): Promise<Map<string, Float32Array>> {
  const entries = [...model.parameters().keys()].map(
    async (name) => [name, (await model.readParameter(name)).data] as const,
  );
  return new Map(await Promise.all(entries));
}

async function newTrainer(options = OPTIONS): Promise<Trainer> {
  const source = await tinyModel();
  const model = await source.convert({ preset: 'COLWGQA' });
  await source.dispose();
  return new Trainer(model, options);
}

describe('resuming continues bit for bit', () => {
  test.each([
    ['AdamW', OPTIONS],
    ['Adafactor', { ...OPTIONS, optimizer: { type: 'adafactor', learningRate: 1e-2 } }],
    ['merge weights alone', { ...OPTIONS, trainable: 'merge' }],
    ['activation checkpointing', { ...OPTIONS, activationCheckpointing: true }],
  ] as [string, TrainerOptions][])('%s', async (_name, options) => {
    const dataset = tinyDataset();
    expect(dataset.batchCount(0)).toBe(4);
    const whole = await newTrainer(options);
    const losses: number[] = [];
    await whole.fit(dataset, { epochs: 3, onStep: ({ loss }) => losses.push(loss) });
    expect(losses).toHaveLength(12);

    // Interrupted in the middle of the second epoch.
    const first = await newTrainer(options);
    const directory = newDirectory();
    const controller = new AbortController();
    const interrupted = first.fit(dataset, {
      epochs: 3,
      checkpoint: { dir: directory, everySteps: 6 },
      onStep: ({ step }) => {
        if (step === 8) controller.abort();
      },
      signal: controller.signal,
    });
    expect((await errorOf(() => interrupted)).code).toBe('ABORTED');
    await first.model.dispose();

    const second = await Trainer.resume(directory);
    expect(second.stepCount).toBe(6);
    const resumed: number[] = [];
    await second.fit(dataset, { epochs: 3, onStep: ({ loss }) => resumed.push(loss) });
    expect(resumed).toEqual(losses.slice(6));
    expect(await bytesOf(second.model)).toEqual(await bytesOf(whole.model));
    await Promise.all([whole.model.dispose(), second.model.dispose()]);
  });
});

describe('a training checkpoint', () => {
  async function saved(): Promise<string> {
    const trainer = await newTrainer();
    await trainer.fit(tinyDataset(), { steps: 2 });
    const directory = path.join(newDirectory(), 'checkpoint');
    await trainer.save(directory);
    await trainer.model.dispose();
    return directory;
  }

  test('is a model that loadModel reads', async () => {
    const model = await loadModel(await saved());
    expect(model.config.wgqa).toMatchObject({ merge: 'weighted', granularity: 'column' });
    await model.dispose();
  });

  test('of mixed steps is refused', async () => {
    const directory = await saved();
    const trainer = await Trainer.resume(directory);
    await trainer.fit(tinyDataset(), { steps: 3 });
    const later = newDirectory();
    await trainer.save(later);
    await trainer.model.dispose();
    for (const file of ['model.safetensors', 'optimizer.safetensors', 'trainer.json']) {
      const mixed = newDirectory();
      await cp(later, mixed, { recursive: true });
      await cp(path.join(directory, file), path.join(mixed, file));
      expect(await failureOf(() => Trainer.resume(mixed))).toEqual({
        code: 'INVALID_FILE',
        field: 'training_step',
      });
    }
  });

  test.each<[string, (state: Record<string, unknown>) => void, string]>([
    ['another format', (state) => (state['format'] = 'x'), 'format'],
    ['a negative step', (state) => (state['step'] = -1), 'step'],
    ['no progress', (state) => delete state['progress'], 'progress'],
    ['no options', (state) => delete state['options'], 'options'],
    ['options that are none', (state) => (state['options'] = { preset: 1 }), 'preset'],
  ])('with %s is refused', async (_name, damage, field) => {
    const directory = await saved();
    const file = path.join(directory, 'trainer.json');
    const state = JSON.parse(await readFile(file, 'utf8')) as Record<string, unknown>;
    damage(state);
    await writeFile(file, JSON.stringify(state));
    expect(await failureOf(() => Trainer.resume(directory))).toEqual({
      code: 'INVALID_FILE',
      field,
    });
  });

  test('without optimizer state, or of a plain model, is refused', async () => {
    const directory = await saved();
    const other = newDirectory();
    for (const name of ['model.safetensors', 'config.json', 'trainer.json']) {
      await cp(path.join(directory, name), path.join(other, name));
    }
    expect((await errorOf(() => Trainer.resume(other))).code).toBe('NOT_FOUND');
    expect((await errorOf(() => Trainer.resume(newDirectory()))).code).toBe('NOT_FOUND');
  });
});

describe('fit', () => {
  test('reports, evaluates, saves and writes metrics on the way', async () => {
    const trainer = await newTrainer();
    const directory = newDirectory();
    const metricsFile = path.join(directory, 'metrics.jsonl');
    const checkpoint = path.join(directory, 'checkpoint');
    const reports: StepReport[] = [];
    const evaluations: number[] = [];
    const result = await trainer.fit(tinyDataset(), {
      steps: 5,
      evaluate: { dataset: tinyDataset(), everySteps: 2 },
      checkpoint: { dir: checkpoint, everySteps: 3 },
      metricsFile,
      onStep: (report) => reports.push(report),
      onEvaluate: ({ step }) => evaluations.push(step),
    });
    expect(reports.map(({ step, epoch, totalSteps }) => [step, epoch, totalSteps])).toEqual([
      [1, 0, 5],
      [2, 0, 5],
      [3, 0, 5],
      [4, 0, 5],
      [5, 1, 5],
    ]);
    expect(reports.map(({ learningRate }) => learningRate)).toEqual([
      0, 0.01, 0.0075, 0.005, 0.0025,
    ]);
    expect(reports.at(-1)?.millisecondsLeft).toBe(0);
    expect(evaluations).toEqual([2, 4, 5]);
    expect(result).toEqual({ step: 5, loss: reports.at(-1)?.loss });
    const lines = (await readFile(metricsFile, 'utf8')).trimEnd().split('\n');
    const metrics = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(metrics.map(({ kind, step }) => `${String(kind)} ${String(step)}`)).toEqual([
      'step 1',
      'step 2',
      'evaluation 2',
      'step 3',
      'step 4',
      'evaluation 4',
      'step 5',
      'evaluation 5',
    ]);
    expect(metrics.at(-2)).toEqual({ kind: 'step', ...reports.at(-1) });
    const last = await Trainer.resume(checkpoint);
    expect(last.stepCount).toBe(5);
    expect((await last.fit(tinyDataset(), { steps: 5 })).loss).toBeUndefined();
    await Promise.all([trainer.model.dispose(), last.model.dispose()]);
  });

  test('lowers the loss that evaluate measures', async () => {
    const trainer = await newTrainer({ ...OPTIONS, schedule: { type: 'constant' } });
    const dataset = tinyDataset();
    const before = await trainer.evaluate(dataset);
    await trainer.fit(dataset, { epochs: 10 });
    const after = await trainer.evaluate(dataset);
    expect(before.tokens).toBe(LENGTHS.reduce((a, b) => a + b));
    expect(before.perplexity).toBeCloseTo(Math.exp(before.loss), 10);
    expect(after.loss).toBeLessThan(0.8 * before.loss);
    await trainer.model.dispose();
  });

  test.each<[string, object, string]>([
    ['neither epochs nor steps', {}, 'epochs'],
    ['both epochs and steps', { epochs: 1, steps: 1 }, 'epochs'],
    ['no epoch', { epochs: 0 }, 'epochs'],
    ['an evaluation without data', { steps: 1, evaluate: { everySteps: 1 } }, 'evaluate.dataset'],
    ['a checkpoint without place', { steps: 1, checkpoint: { everySteps: 1 } }, 'checkpoint.dir'],
    ['a checkpoint without time', { steps: 1, checkpoint: { dir: 'x' } }, 'checkpoint.everySteps'],
  ])('refuses %s', async (_name, options, field) => {
    const trainer = await newTrainer();
    const work = () => trainer.fit(tinyDataset(), options);
    expect(await failureOf(work)).toEqual({ code: 'INVALID_ARGUMENT', field });
    expect(trainer.stepCount).toBe(0);
    await trainer.model.dispose();
  });

  test('refuses a dataset that is none, and a metrics file that cannot be', async () => {
    const trainer = await newTrainer();
    const work = () => trainer.fit([] as unknown as Dataset, { steps: 1 });
    expect((await errorOf(work)).field).toBe('dataset');
    const metricsFile = path.join(newDirectory(), 'a', 'b');
    const fit = () => trainer.fit(tinyDataset(), { steps: 1, metricsFile });
    expect((await errorOf(fit)).code).toBe('IO');
    await trainer.model.dispose();
  });
});
