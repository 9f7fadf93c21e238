import { describe, expect, test } from '@jest/globals';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { parsePlan, readPlan } from '../../src/experiment/plan.ts';
import { failureOf } from '../support/errors.ts';

const PLANS = path.join(import.meta.dirname, '../../experiments');

const DATASET = { name: 'a', train: ['t.jsonl'], validation: ['v.jsonl'], test: ['e.jsonl'] };
const MINIMAL = { base: 'model', datasets: [DATASET], variants: ['MHA', 'WGQA'] };

/** The minimal plan with one part replaced. */
function planWith(change: Readonly<Record<string, unknown>>) {
  return parsePlan({ ...MINIMAL, ...change }, '/plans');
}

test('paths are relative to the plan, and defaults are filled in', () => {
  const plan = parsePlan(MINIMAL, '/plans');
  expect(plan.base).toBe('/plans/model');
  expect(plan.datasets[0]).toMatchObject({ train: ['/plans/t.jsonl'], metric: 'rouge1' });
  expect(plan.training).toMatchObject({ epochs: 3, learningRate: 1e-3, optimizer: 'adamw' });
  expect(plan.variants.map(({ name, seeds }) => [name, seeds])).toEqual([
    ['MHA', [0]],
    ['WGQA', [0]],
  ]);
});

test('the multi-head row is fine-tuned by sound settings, and not by the paper’s', () => {
  const trained = (settings: string) =>
    planWith({ settings }).variants.map((variant) => variant.trained);
  expect(trained('sound')).toEqual([true, true]);
  expect(trained('paper')).toEqual([false, true]);
});

test('a variant may have options and seeds of its own', () => {
  const frozen = {
    name: 'WGQA frozen',
    preset: 'WGQA',
    kvHeads: 2,
    trainable: 'merge',
    seeds: [7],
  };
  const { variants } = planWith({ seeds: [0, 1], variants: ['MHA', frozen] });
  expect(variants[1]).toEqual({
    name: 'WGQA frozen',
    conversion: { preset: 'WGQA', kvHeads: 2 },
    trained: true,
    trainable: 'merge',
    seeds: [7],
  });
});

test('a variant may have K/V heads within a budget, and be prepared', () => {
  const options = { grouping: 'similarity', alignment: 'orthogonal', expansion: true };
  const { variants, datasets } = planWith({
    variants: [
      { name: 'layers', merge: 'mean', budget: { maxBytes: 512, sourceTokens: 4 } },
      { name: 'prepared', preset: 'WGQA', ...options },
    ],
  });
  expect(variants[0]).toMatchObject({
    conversion: { merge: 'mean' },
    budget: { maxBytes: 512, sourceTokens: 4, targetTokens: 1 },
  });
  expect(variants[1]?.conversion).toEqual({ preset: 'WGQA', ...options });
  expect(datasets[0]?.calibrationPairs).toBe(256);
});

test('a variant may be distilled from the multi-head model', () => {
  const distilled = (distillation: object) =>
    planWith({ variants: ['MHA', { preset: 'WGQA', distillation }] }).variants[1]?.distillation;
  expect(distilled({})).toEqual({ weight: 0.5, temperature: 2 });
  expect(distilled({ weight: 1, temperature: 4 })).toEqual({ weight: 1, temperature: 4 });
  expect(planWith({}).variants[1]).not.toHaveProperty('distillation');
});

describe('what is wrong is named', () => {
  test.each([
    [{ base: '' }, 'base'],
    [{ bases: 'x' }, 'bases'],
    [{ settings: 'best' }, 'settings'],
    [{ seeds: [] }, 'seeds'],
    [{ seeds: [-1] }, 'seeds'],
    [{ datasets: [] }, 'datasets'],
    [{ datasets: [{ ...DATASET, name: '../a' }] }, 'datasets[0].name'],
    [{ datasets: [{ ...DATASET, train: [] }] }, 'datasets[0].train'],
    [{ datasets: [{ ...DATASET, metric: 'meteor' }] }, 'datasets[0].metric'],
    [{ datasets: [DATASET, DATASET] }, 'datasets[1].name'],
    [{ variants: ['WGQB'] }, 'variants[0]'],
    [{ variants: ['MHA', 'MHA'] }, 'variants[1].name'],
    [{ variants: [{ name: 'x' }] }, 'variants[0].preset'],
    [{ variants: [{ kvHeads: 2, merge: 'mean' }] }, 'variants[0].name'],
    [{ variants: [{ preset: 'WGQA', distillation: 1 }] }, 'variants[0].distillation'],
    [
      { variants: [{ preset: 'WGQA', distillation: { weight: 2 } }] },
      'variants[0].distillation.weight',
    ],
    [
      { variants: [{ preset: 'WGQA', distillation: { temperature: 0 } }] },
      'variants[0].distillation.temperature',
    ],
    [
      { variants: [{ preset: 'WGQA', distillation: { teacher: 'x' } }] },
      'variants[0].distillation.teacher',
    ],
    [
      { variants: [{ preset: 'WGQA', trained: false, distillation: {} }] },
      'variants[0].distillation',
    ],
    [
      { settings: 'paper', variants: [{ preset: 'MHA', distillation: {} }] },
      'variants[0].distillation',
    ],
    [{ datasets: [{ ...DATASET, calibrationPairs: 0 }] }, 'datasets[0].calibrationPairs'],
    [{ variants: [{ preset: 'WGQA', constraint: 'positive' }] }, 'variants[0].constraint'],
    [{ variants: [{ preset: 'WGQA', grouping: 'random' }] }, 'variants[0].grouping'],
    [{ variants: [{ preset: 'WGQA', alignment: 'unitary' }] }, 'variants[0].alignment'],
    [{ variants: [{ preset: 'WGQA', expansion: 1 }] }, 'variants[0].expansion'],
    [{ variants: [{ name: 'x', merge: 'mean', budget: {} }] }, 'variants[0].budget.maxBytes'],
    [{ variants: [{ name: 'x', budget: { maxBytes: 0 } }] }, 'variants[0].budget.maxBytes'],
    [{ variants: [{ name: 'x', kvHeads: 2, budget: { maxBytes: 9 } }] }, 'variants[0].budget'],
    [{ training: { steps: 1, epochs: 1 } }, 'training.epochs'],
    [{ training: { learningRate: 0 } }, 'training.learningRate'],
    [{ evaluation: { samples: -1 } }, 'evaluation.samples'],
  ])('%j', async (change, field) => {
    expect(await failureOf(() => planWith(change))).toEqual({ code: 'INVALID_ARGUMENT', field });
  });
});

test('the plans of the repository are valid', async () => {
  const files = (await readdir(PLANS)).filter((name) => name.endsWith('.json'));
  expect(files.length).toBeGreaterThan(0);
  for (const file of files) {
    const plan = await readPlan(path.join(PLANS, file));
    expect(plan.variants.length).toBeGreaterThan(1);
  }
});
