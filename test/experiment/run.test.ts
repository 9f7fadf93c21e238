/** A whole experiment on a tiny model: what it writes, and that an interruption changes nothing. */
import { beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import path from 'node:path';
import { readPlan, runExperiment, type ExperimentReport } from '../../src/experiment/index.ts';
import type { RunResult } from '../../src/experiment/results.ts';
import { readOutputs, runDirectory } from '../../src/experiment/run-files.ts';
import { scoreOutputs } from '../../src/experiment/scoring.ts';
import { useTemporaryDirectory, wgqaJson, writePairs, writeTinyModel } from '../cli/fixtures.ts';

const temporary = useTemporaryDirectory();
let planFile = '';

const PREPARED = { grouping: 'similarity', alignment: 'orthogonal', expansion: true };

const PLAN = {
  base: 'model',
  seeds: [0, 1],
  datasets: [
    {
      name: 'subjects',
      train: ['pairs.jsonl'],
      validation: ['pairs.jsonl'],
      test: ['pairs.jsonl'],
      validationPairs: 8,
      testPairs: 12,
      maxSourceTokens: 16,
      maxTargetTokens: 8,
      batchSize: 4,
      calibrationPairs: 8,
      metric: 'rougeL',
    },
  ],
  variants: [
    { name: 'before', preset: 'MHA', trained: false, seeds: [0] },
    'MHA',
    'GQA',
    'WGQA',
    { name: 'frozen', preset: 'WGQA', trainable: 'merge', seeds: [0] },
    { preset: 'RANDCOLWMQA', seeds: [1] },
    { name: 'distilled', preset: 'WGQA', distillation: { weight: 0.7 }, seeds: [0] },
    { ...PREPARED, name: 'prepared', preset: 'WGQA', init: 'least-squares', seeds: [0] },
    // GQA keeps 512 bytes per token of both attentions.
    { name: 'by layer', merge: 'mean', budget: { maxBytes: 500 }, seeds: [0] },
  ],
  training: { steps: 6, learningRate: 1e-2, evaluateEvery: 2, checkpointEvery: 1 },
  evaluation: { batchSize: 4, generation: { maxNewTokens: 6 }, samples: 2 },
};
const RUNS = 12;

beforeAll(async () => {
  await writeTinyModel(temporary.path('model'));
  await writePairs(temporary.path('pairs.jsonl'), 24);
  planFile = await writePlan('plan', PLAN);
});

async function writePlan(name: string, plan: object): Promise<string> {
  const file = temporary.path(`${name}.json`);
  await writeFile(file, JSON.stringify(plan));
  return file;
}

async function run(
  out: string,
  options: { readonly file?: string; readonly signal?: AbortSignal } = {},
): Promise<ExperimentReport> {
  const { file = planFile, ...rest } = options;
  const plan = await readPlan(file);
  return runExperiment(plan, { out: temporary.path(out), version: '0.0.0', threads: 1, ...rest });
}

/** All results below `out`, without what depends on the clock. */
async function resultsOf(out: string): Promise<Map<string, object>> {
  const results = new Map<string, object>();
  for (const entry of await readdir(temporary.path(out), { recursive: true })) {
    if (!entry.endsWith('result.json')) continue;
    const text = await readFile(temporary.path(out, entry), 'utf8');
    const { trainMilliseconds, trainTokensPerSecond, generateMilliseconds, ...rest } = JSON.parse(
      text,
    ) as RunResult;
    expect(Math.min(trainMilliseconds, trainTokensPerSecond)).toBeGreaterThanOrEqual(0);
    expect(generateMilliseconds).toBeGreaterThan(0);
    results.set(entry, rest);
  }
  return results;
}

describe('an experiment', () => {
  let report: ExperimentReport;
  beforeAll(async () => {
    report = await run('whole');
  });

  test('has a row per variant, with what sets it apart', () => {
    const rows = report.datasets[0]?.rows ?? [];
    const facts = rows.map((row) => [
      row.variant,
      row.kvHeads,
      row.mergeParameters,
      row.seeds.length,
      row.curve.map(({ step }) => step),
    ]);
    const steps = [0, 2, 4, 6];
    // 2 layers x 2 modules x K and V x 4 heads; the column variant times a head's 8 channels.
    expect(facts).toEqual([
      ['before', 4, 0, 1, [0]],
      ['MHA', 4, 0, 2, steps],
      ['GQA', 2, 0, 2, steps],
      ['WGQA', 2, 32, 2, steps],
      ['frozen', 2, 32, 1, steps],
      ['RANDCOLWMQA', 1, 256, 1, steps],
      ['distilled', 2, 32, 1, steps],
      // ... and as many modules, K and V times 4 heads of 8 channels for the expansion.
      ['prepared', 2, 32 + 256, 1, steps],
      ['by layer', 1.75, 0, 1, steps],
    ]);
    expect(rows.map(({ baseline }) => baseline)).toEqual([
      ...[undefined, undefined, undefined, 'GQA', 'GQA', 'GQA', 'GQA', 'GQA', 'GQA'],
    ]);
    expect(rows.at(-2)?.description).toBe(
      '2 of 4 K/V heads, grouped by similarity, aligned, a weight per head, ' +
        'start from least squares, weighted expansion',
    );
    const byLayer = rows.at(-1);
    expect(byLayer?.description).toMatch(/^K\/V heads by layer \(self \d \d, cross \d \d\), mean/);
    const { selfAttention = NaN, crossAttention = NaN } = byLayer?.kvBytesPerToken ?? {};
    expect(selfAttention + crossAttention).toBeLessThanOrEqual(500);
    const distilled = rows.find(({ variant }) => variant === 'distilled');
    expect(distilled?.description).toContain(
      'distilled from the multi-head model, weight 0.7, T 2',
    );
    const frozen = rows.find(({ variant }) => variant === 'frozen');
    expect(frozen?.trainedParameters).toBe(32);
    expect(report.missingRuns).toBe(0);
  });

  test('starts every mean merge from the same loss, and trains', () => {
    const rows = new Map(report.datasets[0]?.rows.map((row) => [row.variant, row.curve]));
    const lossAt = (variant: string, index: number) => rows.get(variant)?.at(index)?.mean ?? NaN;
    expect(lossAt('WGQA', 0)).toBeCloseTo(lossAt('GQA', 0), 5);
    expect(lossAt('MHA', 0)).toBe(lossAt('before', 0));
    expect(lossAt('WGQA', -1)).toBeLessThan(lossAt('WGQA', 0));
  });

  test('reports the scores that its saved outputs give', async () => {
    for (const row of report.datasets[0]?.rows ?? []) {
      for (const [i, seed] of row.seeds.entries()) {
        const key = { dataset: 'subjects', variant: row.variant, seed };
        const outputs = await readOutputs(runDirectory(temporary.path('whole'), key));
        expect(scoreOutputs(outputs, { batchSize: 4 })).toEqual(row.perSeed[i]);
      }
    }
  });

  test.each([
    [0, 'rougeL'],
    [1, 'logLikelihood'],
  ])('compares every pair of variants: measure %d, %s', (index, metric) => {
    const { comparisons, ...measure } = report.datasets[0]?.measures[index] ?? { comparisons: [] };
    expect(measure).toEqual({ metric });
    expect(comparisons).toHaveLength((9 * 8) / 2);
    for (const { pValue, adjustedPValue } of comparisons) {
      expect(adjustedPValue).toBeGreaterThanOrEqual(pValue);
      expect(adjustedPValue).toBeLessThanOrEqual(1);
    }
    const planned = comparisons.filter((pair) => pair.plannedPValue !== undefined);
    expect(planned).toHaveLength(6);
    for (const { pValue, adjustedPValue, plannedPValue = NaN } of planned) {
      expect(plannedPValue).toBeGreaterThanOrEqual(pValue);
      expect(plannedPValue).toBeLessThanOrEqual(adjustedPValue);
    }
  });

  test('runs nothing that is there, and says so in the same report', async () => {
    const again = await run('whole');
    expect({ ...again, createdAt: '' }).toEqual({ ...report, createdAt: '' });
  });

  test('leaves no state of training behind', async () => {
    const entries = await readdir(temporary.path('whole'), { recursive: true });
    expect(entries.filter((entry) => entry.includes('state'))).toEqual([]);
    expect(entries.filter((entry) => entry.endsWith('result.json'))).toHaveLength(RUNS);
  });

  test('is not continued by another plan', async () => {
    const other = await writePlan('other', { ...PLAN, training: { ...PLAN.training, steps: 7 } });
    await expect(run('whole', { file: other })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      field: expect.stringContaining('seed-0') as unknown,
    });
  });
});

test.each([
  [{ variants: ['MHA', { name: 'x', kvHeads: 3, merge: 'mean' }] }, 'variants[1].kvHeads'],
  [{ variants: [{ preset: 'GQA', trainable: 'merge' }] }, 'variants[0].trainable'],
  [{ variants: [{ preset: 'ROWWGQA', init: 'least-squares' }] }, 'variants[0].init'],
  [
    { variants: [{ name: 'x', merge: 'mean', kvHeads: { 'decoder.self': [2] } }] },
    'variants[0].kvHeads',
  ],
  [
    { variants: [{ name: 'x', merge: 'mean', grouping: 'similarity', budget: { maxBytes: 512 } }] },
    'variants[0].kvHeads',
  ],
  [{ evaluation: { generation: { maxNewTokens: 0 } } }, 'evaluation.generation.maxNewTokens'],
])('what only the model can tell is told before any run: %j', async (change, field) => {
  const file = await writePlan('wrong', { ...PLAN, ...change });
  await expect(run('wrong', { file })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', field });
  await expect(readdir(temporary.path('wrong'))).rejects.toMatchObject({ code: 'ENOENT' });
});

test('tells of the evaluations of a budget, once for all seeds', async () => {
  const variants = [{ name: 'by layer', merge: 'mean', budget: { maxBytes: 500 } }];
  const training = { ...PLAN.training, steps: 1 };
  const file = await writePlan('budget', { ...PLAN, variants, training });
  const stages: string[] = [];
  await runExperiment(await readPlan(file), {
    out: temporary.path('budget'),
    version: '0.0.0',
    threads: 1,
    onProgress: ({ stage }) => stages.push(stage),
  });
  // 2 modules of 2 layers, with 1 and with 2 of 4 heads.
  const told = stages.filter((stage) => stage.includes('K/V heads by layer'));
  expect(told).toEqual(
    Array.from({ length: 8 }, (_, i) => {
      return `subjects, by layer, seed 0: K/V heads by layer, ${i + 1} of 8`;
    }),
  );
});

test('interrupted again and again, it gives the numbers of an uninterrupted one', async () => {
  for (let interruptions = 0; interruptions < 200; ++interruptions) {
    const controller = new AbortController();
    let events = 0;
    // Sometimes more than the eight of a budget, which begins anew.
    const patience = 5 + (interruptions % 7);
    const plan = await readPlan(planFile);
    const running = runExperiment(plan, {
      out: temporary.path('interrupted'),
      version: '0.0.0',
      threads: 1,
      signal: controller.signal,
      onProgress: () => {
        if (++events === patience) controller.abort();
      },
    });
    const outcome = await running.then(
      () => 'done',
      (error: unknown) => (error as { code?: string }).code,
    );
    if (outcome === 'done') break;
    expect(outcome).toBe('ABORTED');
  }
  expect(await resultsOf('interrupted')).toEqual(await resultsOf('whole'));
});

/** Runs the plan until `isMoment` says so of its progress. */
async function interrupt(out: string, isMoment: (stage: string) => boolean): Promise<void> {
  const controller = new AbortController();
  const running = runExperiment(await readPlan(planFile), {
    out: temporary.path(out),
    version: '0.0.0',
    threads: 1,
    signal: controller.signal,
    onProgress: ({ stage }) => {
      if (isMoment(stage)) controller.abort();
    },
  });
  await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
}

test.each([2, 6])(
  'interrupted before the evaluation of step %d, it evaluates then',
  async (step) => {
    let steps = 0;
    await interrupt(
      `step-${step}`,
      (stage) => stage === 'subjects, MHA, seed 0: fine-tuning' && ++steps === step,
    );
    await run(`step-${step}`);
    expect(await resultsOf(`step-${step}`)).toEqual(await resultsOf('whole'));
  },
);

test('a killed one goes on from the last state that it saved', async () => {
  // What a kill leaves: a state of an earlier step, a curve that is ahead of it, half a line.
  await interrupt('killed', (stage) => stage.startsWith('subjects, MHA, seed 0'));
  const key = { dataset: 'subjects', variant: 'MHA', seed: 0 };
  const directory = runDirectory(temporary.path('killed'), key);
  const curve = path.join(directory, 'curve.jsonl');
  const ahead = { step: 4, loss: 99, stepMilliseconds: 1, stepTokens: 1 };
  const text = await readFile(curve, 'utf8');
  await writeFile(curve, `${text}${JSON.stringify(ahead)}\n{"step": 6, "lo`);
  await run('killed');
  expect(await resultsOf('killed')).toEqual(await resultsOf('whole'));
});

test('the command writes its three reports', async () => {
  const out = temporary.path('whole');
  const { files, report } = await wgqaJson(['experiment', planFile, '--out', out, '--report-only']);
  expect(report).toMatchObject({ missingRuns: 0 });
  for (const file of Object.values(files as Record<string, string>)) {
    expect(await readFile(file, 'utf8')).toContain('RANDCOLWMQA');
  }
  await mkdir(temporary.path('empty'), { recursive: true });
  const empty = await wgqaJson([
    ...['experiment', planFile, '--out', temporary.path('empty'), '--report-only'],
  ]);
  expect(empty['report']).toMatchObject({ missingRuns: RUNS });
  await rm(temporary.path('empty'), { recursive: true });
});
