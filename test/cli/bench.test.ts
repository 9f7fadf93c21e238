/** `wgqa bench` from end to end, on a model that takes no time. */
import { beforeAll, expect, test } from '@jest/globals';
import { readFile } from 'node:fs/promises';
import { useTemporaryDirectory, wgqa, wgqaJson, writeTinyModel } from './fixtures.ts';

const temporary = useTemporaryDirectory();
let model = '';
const SMALL = ['--quick', '--batch', '1,2', '--source-tokens', '8'];

beforeAll(async () => {
  model = temporary.path('model');
  await writeTinyModel(model);
});

interface Report {
  readonly measurements: readonly { name: string; value: number; share: number; limit: number }[];
  readonly device: { readonly threads: number };
}

test('every case has figures that are shares of a limit', async () => {
  const before = await readFile(temporary.path('model', 'model.safetensors'));
  const args = ['bench', model, ...SMALL, '--dtype', 'float32'];
  const { measurements, device } = (await wgqaJson(args)) as unknown as Report;
  expect(device.threads).toBeGreaterThanOrEqual(1);
  for (const { value, share, limit } of measurements) {
    expect(value).toBeGreaterThan(0);
    expect(share).toBeCloseTo(value / limit, 10);
  }
  const names = measurements.map(({ name }) => name.replace(model, 'M')).join('\n');
  expect(names).toContain('M, float32, batch 1: weights read');
  expect(names).toContain('M, float32, batch 2: products');
  expect(names).toContain('M encoder, float32, 2 × 8 tokens');
  expect(names).toContain('M, float32, 4 beams, 8 source tokens, batch 2');
  expect(names).toContain('M, training step, float32, 2 × 8 source, 4 target tokens');
  expect(names).toContain('M, to the first token, float32');
  expect(names).toContain('M, float32: parameters and packed weights');
  // Training changed the weights in memory alone.
  expect(await readFile(temporary.path('model', 'model.safetensors'))).toEqual(before);
});

test('a case by name, as a table; progress goes to standard error', async () => {
  const args = ['bench', model, ...SMALL, '--cases', 'memory', '--dtype', 'bfloat16'];
  const { code, stdout, stderr } = await wgqa(args);
  expect(code).toBe(0);
  expect(stdout).toMatch(
    /bfloat16: cache of 2 × 8 source, 24 new tokens .* 100\.0 % of multi-head/,
  );
  expect(stderr).toBe('memory, bfloat16\n');
});

test('a model that is not there, and an abort, are failures', async () => {
  expect(await wgqa(['bench', temporary.path('none'), ...SMALL])).toMatchObject({ code: 1 });
  const signal = AbortSignal.abort();
  const { code, stdout, stderr } = await wgqa(['bench', model, ...SMALL], { signal });
  expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
  expect(stderr).toContain('ABORTED');
});
