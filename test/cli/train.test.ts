import { beforeAll, describe, expect, test } from '@jest/globals';
import { readFile, readdir, rm } from 'node:fs/promises';
import path from 'node:path';
import { useTemporaryDirectory, wgqa, wgqaJson, writePairs, writeTinyModel } from './fixtures.ts';

const temporary = useTemporaryDirectory();
let model = '';
let pairs = '';

beforeAll(async () => {
  model = temporary.path('model');
  pairs = temporary.path('pairs.jsonl');
  await writeTinyModel(model);
  await writePairs(pairs, 16);
});

/** A training command of small steps. */
function training(out: string, ...rest: readonly string[]): string[] {
  const fixed = ['--out', temporary.path(out), '--batch-size', '4', '--threads', '1'];
  return ['train', model, pairs, ...fixed, ...rest];
}

async function weights(out: string): Promise<Buffer> {
  return readFile(temporary.path(out, 'model.safetensors'));
}

test('metrics, evaluation and the trained model', async () => {
  const metrics = temporary.path('metrics.jsonl');
  const more = ['--eval', pairs, '--eval-every', '3', '--metrics', metrics, '--steps', '5'];
  const result = await wgqaJson(training('plain', ...more));
  expect(result).toMatchObject({ step: 5, evaluation: { step: 5 } });
  const lines = (await readFile(metrics, 'utf8')).trimEnd().split('\n');
  const reports = lines.map((line) => JSON.parse(line) as { kind: string; step: number });
  expect(reports.map(({ kind, step }) => `${kind} ${step}`)).toEqual([
    ...['step 1', 'step 2', 'step 3', 'evaluation 3', 'step 4', 'step 5', 'evaluation 5'],
  ]);
  expect((await readdir(temporary.path('plain'))).sort()).toEqual([
    ...['config.json', 'model.safetensors', 'tokenizer.json', 'tokenizer_config.json'],
  ]);
});

describe('a run that was interrupted', () => {
  const constant = ['--schedule', 'constant', '--warmup-steps', '0'];

  test('continues from its checkpoint to the same weights, bit for bit', async () => {
    const checkpoint = ['--checkpoint', temporary.path('state'), '--checkpoint-every', '3'];
    expect(await wgqa(training('whole', '--steps', '6', ...constant))).toMatchObject({ code: 0 });
    const first = training('first', '--steps', '3', ...constant, ...checkpoint);
    expect(await wgqa(first)).toMatchObject({ code: 0 });
    const second = training('second', '--steps', '6', ...constant, ...checkpoint, '--resume');
    expect(await wgqa(second)).toMatchObject({ code: 0 });
    const [whole, resumed] = [await weights('whole'), await weights('second')];
    expect(resumed.equals(whole)).toBe(true);
    expect((await weights('first')).equals(whole)).toBe(false);
  });

  test.each([
    { change: ['--batch-size', '8'], field: '--batch-size', exit: 2 },
    { change: ['--learning-rate', '0.5'], field: 'trainer', exit: 1 },
    { change: ['--max-source-tokens', '4'], field: 'data', exit: 1 },
  ])('is not continued with another $field', async ({ change, field, exit }) => {
    const checkpoint = ['--checkpoint', temporary.path('state'), '--resume'];
    const args = training('other', '--steps', '9', ...constant, ...checkpoint, ...change);
    const { code, stderr } = await wgqa([...args, '--json']);
    expect(code).toBe(exit);
    expect(JSON.parse(stderr)).toMatchObject({ error: { code: 'INVALID_ARGUMENT', field } });
  });

  test('begins again where it ended before its first checkpoint', async () => {
    const state = temporary.path('early');
    const options = ['--steps', '6', ...constant, '--checkpoint', state];
    await wgqa(training('early-out', ...options));
    for (const name of await readdir(state)) {
      // Killed before, nothing else is there.
      if (name !== 'run.json') await rm(path.join(state, name));
    }
    const again = training('early-again', ...options, '--resume');
    expect(await wgqa(again)).toMatchObject({ code: 0 });
    expect((await weights('early-again')).equals(await weights('whole'))).toBe(true);
  });

  test('is not overwritten by a new one', async () => {
    const { code, stderr } = await wgqa(training('new', '--checkpoint', temporary.path('state')));
    expect({ code, stderr }).toEqual({ code: 1, stderr: expect.stringContaining('not empty') });
  });
});

describe('a teacher', () => {
  const constant = ['--schedule', 'constant', '--warmup-steps', '0'];
  const taught = ['--distillation-weight', '0.7', '--temperature', '3', ...constant];
  const checkpoint = (): string[] => ['--checkpoint', temporary.path('taught-state')];

  test('is learned from, and its part of the loss is told', async () => {
    const metrics = temporary.path('taught.jsonl');
    const more = ['--steps', '2', '--metrics', metrics, ...checkpoint()];
    const args = training('taught', '--teacher', model, ...taught, ...more);
    const { code, stdout, stderr } = await wgqa([...args, '--json']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(JSON.parse(stdout)).toMatchObject({ step: 2, distillationLoss: expect.any(Number) });
    const lines = (await readFile(metrics, 'utf8')).trimEnd().split('\n');
    for (const line of lines) {
      expect(JSON.parse(line)).toMatchObject({ distillationLoss: expect.any(Number) });
    }
  });

  test('is needed again to continue', async () => {
    const resumed = (...rest: readonly string[]): string[] =>
      training('again', '--steps', '3', ...checkpoint(), '--resume', ...rest);
    const { code, stderr } = await wgqa([...resumed(...constant), '--json']);
    expect(code).toBe(1);
    expect(JSON.parse(stderr)).toMatchObject({ error: { field: 'distillation' } });
    const given = resumed('--teacher', model, ...taught);
    const { stderr: progress, ...result } = await wgqa(given);
    expect(result).toMatchObject({ code: 0 });
    expect(progress).toMatch(/step 3\/3, loss \d+\.\d{4}, distillation \d+\.\d{4}/);
  });

  test.each(['--distillation-weight', '--temperature'])('is what %s is of', async (flag) => {
    const { code, stderr } = await wgqa(training('none', flag, '1'));
    expect({ code, stderr }).toEqual({ code: 2, stderr: expect.stringContaining('--teacher') });
  });
});

test('an abort saves the checkpoint and ends with 1, without a model', async () => {
  const controller = new AbortController();
  const state = temporary.path('aborted-state');
  const metrics = temporary.path('aborted.jsonl');
  const args = training('aborted', '--steps', '100000', '--checkpoint', state);
  const running = wgqa([...args, '--metrics', metrics], { signal: controller.signal });
  while ((await readFile(metrics, 'utf8').catch(() => '')) === '') {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  controller.abort();
  const { code, stderr } = await running;
  expect(code).toBe(1);
  expect(stderr).toMatch(/saved step \d+ in /);
  expect(stderr).toContain('[ABORTED]');
  const saved = await readFile(path.join(state, 'trainer.json'), 'utf8');
  expect((JSON.parse(saved) as { step: number }).step).toBeGreaterThan(0);
  await expect(readdir(temporary.path('aborted'))).rejects.toThrow('ENOENT');
});
