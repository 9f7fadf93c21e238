/** The results that the repository holds: what the README says of quality is made of them. */
import { describe, expect, test } from '@jest/globals';
import { readdirSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import path from 'node:path';
import { readPlan } from '../../src/experiment/index.ts';
import type { ExperimentReport } from '../../src/experiment/report-types.ts';
import { readOutputs, readResult } from '../../src/experiment/run-files.ts';
import { scoreOutputs } from '../../src/experiment/scoring.ts';

const ROOT = path.resolve(import.meta.dirname, '../../experiments');

function runsOf(experiment: string): string[] {
  const out = path.join(ROOT, 'results', experiment);
  return readdirSync(out, { recursive: true, encoding: 'utf8' })
    .filter((file) => path.basename(file) === 'result.json')
    .map((file) => path.join(out, path.dirname(file)));
}

describe.each(['debian', 'debian-translate'])('%s', (experiment) => {
  const runs = runsOf(experiment);

  test('scores are those of the saved outputs, to the last bit', async () => {
    const { evaluation } = await readPlan(path.join(ROOT, `${experiment}.json`));
    expect(runs.length).toBeGreaterThan(40);
    for (const run of runs) {
      const outputs = await readOutputs(run);
      expect(outputs).toHaveLength(500);
      expect({ run, scores: scoreOutputs(outputs, evaluation) }).toEqual({
        run,
        scores: (await readResult(run))?.scores,
      });
    }
  });

  test('the report is of these runs, and of all that the plan names', async () => {
    const plan = await readPlan(path.join(ROOT, `${experiment}.json`));
    const file = path.join(ROOT, 'results', experiment, 'report.json');
    const report = JSON.parse(await readFile(file, 'utf8')) as ExperimentReport;
    expect(report.missingRuns).toBe(0);
    const reported = report.datasets.flatMap(({ rows }) =>
      rows.map(({ variant, seeds, perSeed }) => ({ variant, seeds, perSeed })),
    );
    expect(reported.map(({ variant, seeds }) => ({ name: variant, seeds }))).toEqual(
      plan.variants.map(({ name, seeds }) => ({ name, seeds })),
    );
    const results = await Promise.all(runs.map((run) => readResult(run)));
    for (const { variant, seeds, perSeed } of reported) {
      for (const [i, seed] of seeds.entries()) {
        const result = results.find((r) => r?.variant === variant && r.seed === seed);
        expect({ variant, seed, scores: result?.scores }).toEqual({
          variant,
          seed,
          scores: perSeed[i],
        });
      }
    }
    expect(results).toHaveLength(reported.flatMap(({ seeds }) => seeds).length);
  });
});
