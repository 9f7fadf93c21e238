import { beforeAll, describe, expect, test } from '@jest/globals';
import { mkdir, readFile, readdir, writeFile } from 'node:fs/promises';
import { gzipSync } from 'node:zlib';
import { DEFAULT_PLAN, runDemo, type DemoOptions, type DemoProgress } from '../../src/demo/index.ts';
import type { DemoReport, VariantResult } from '../../src/report/index.ts';
import {
  useTemporaryDirectory,
  wgqa,
  writePairs,
  writeTinyModel,
} from '../cli/fixtures.ts';

const temporary = useTemporaryDirectory();
let options: DemoOptions;

beforeAll(async () => {
  const [modelDirectory, dataDirectory] = [temporary.path('model'), temporary.path('data')];
  await writeTinyModel(modelDirectory);
  await mkdir(dataDirectory);
  for (const split of ['train', 'validation', 'test']) {
    const file = temporary.path('data', `${split}.jsonl`);
    await writePairs(file, 16);
    await writeFile(`${file}.gz`, gzipSync(await readFile(file)));
  }
  options = {
    modelDirectory,
    dataDirectory,
    plan: {
      ...DEFAULT_PLAN,
      presets: ['MHA', 'GQA', 'WGQA', 'ROWWMQA'],
      steps: 3,
      batchSize: 4,
      testPairs: 6,
      validationPairs: 4,
      curvePoints: 2,
      samples: 2,
      maxTargetTokens: 6,
    },
    command: 'wgqa demo',
    version: '0.0.0',
    threads: 1,
  };
});

/** What must not differ between two runs: everything but times. */
function withoutTimes({ createdAt: _, ...report }: DemoReport): unknown {
  const variants = report.variants.map(
    ({ tokensPerSecond: _speed, trainMilliseconds: _time, ...rest }: VariantResult) => rest,
  );
  return { ...report, variants };
}

describe('runDemo', () => {
  test('trains, folds and scores each variant, and repeats itself', async () => {
    const progress: DemoProgress[] = [];
    const report = await runDemo({ ...options, onProgress: (state) => progress.push(state) });
    const rows = report.variants.map(({ preset, kvHeads, mergeParameters, curve }) => {
      return [preset, kvHeads, mergeParameters, curve.length];
    });
    expect(rows).toEqual([
      ['MHA (before)', 4, 0, 0],
      ['MHA', 4, 0, 3],
      ['GQA', 2, 0, 3],
      // 2 layers × 2 modules × K and V × 4 heads
      ['WGQA', 2, 32, 3],
      // × 32 rows
      ['ROWWMQA', 1, 1024, 3],
    ]);
    const wgqa = report.variants[3];
    expect(wgqa?.parameters).toBe(report.variants[2]?.parameters); // folded
    expect(wgqa?.mergeWeights?.[0]).toMatchObject({ granularity: 'head', initial: 0.5 });
    // K and V × 2 layers × 2 heads × 8 × 4 bytes
    expect(wgqa?.kvBytesPerToken).toEqual({ selfAttention: 256, crossAttention: 256 });
    expect(wgqa?.curve.map(({ evalLoss }) => evalLoss !== undefined)).toEqual([false, true, true]);
    expect(report.samples.map(({ outputs }) => outputs.length)).toEqual([5, 5]);
    expect(report.settings.notes?.join('\n')).toMatch(/WGQA minus GQA after 3 steps: loss [+−]?0/);
    expect(report.settings.notes?.join('\n')).toContain('Folded and unfolded logits');
    const last = progress.at(-1);
    expect(last?.done).toBe(last?.total);
    expect(withoutTimes(await runDemo(options))).toEqual(withoutTimes(report));
  });

  test('stops where it is when it is aborted', async () => {
    const controller = new AbortController();
    const running = runDemo({
      ...options,
      signal: controller.signal,
      onProgress: ({ stage }) => {
        if (stage.startsWith('GQA')) controller.abort();
      },
    });
    await expect(running).rejects.toMatchObject({ code: 'ABORTED' });
  });
});

describe('wgqa demo', () => {
  /** A short run of one variant; reports go to `out`. */
  function demo(out: string, signal?: AbortSignal) {
    const { modelDirectory: model, dataDirectory: data } = options;
    const files = ['--model', model, '--data', data, '--out', temporary.path(out)];
    const sizes = ['--variants', 'WMQA', '--steps', '2', '--batch-size', '4', '--test-pairs', '4'];
    return wgqa(['demo', ...files, ...sizes, '--threads', '1'], signal ? { signal } : {});
  }

  test('prints the table and writes the three reports', async () => {
    const { code, stdout } = await demo('reports');
    expect(code).toBe(0);
    expect(stdout).toMatch(/^MHA \(before\) +4\/4 /m);
    expect(stdout).toMatch(/^WMQA +1\/4 /m);
    const read = (name: string) => readFile(temporary.path('reports', name), 'utf8');
    const html = await read('report.html');
    expect(html).toMatch(/^<!doctype html>/);
    expect(html).not.toMatch(/<script|https?:\/\/(?!www\.w3\.org)/); // self-contained
    expect(await read('report.md')).toContain('| WMQA');
    const report = JSON.parse(await read('report.json')) as DemoReport;
    expect(report.settings).toMatchObject({ checkpoint: 'model', dataset: 'data', steps: 2 });
    expect(JSON.stringify(report)).not.toContain(temporary.path()); // names no place
  });

  test('writes nothing when it is aborted', async () => {
    const signal = AbortSignal.abort();
    expect(await demo('aborted', signal)).toMatchObject({ code: 1, stdout: '' });
    await expect(readdir(temporary.path('aborted'))).rejects.toThrow('ENOENT');
  });
});
