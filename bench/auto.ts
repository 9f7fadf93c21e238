/** What `dtype: 'auto'` chooses, beside the type that would have been the fastest. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import {
  compareInTurn,
  median,
  type Benchmark,
  type Measurement,
} from '../src/bench/measurement.ts';
import type { RunOptions } from '../src/bench/run-options.ts';
import { decoderOf, SHAPES, shapeTitle, type ShapeName } from '../src/bench/shapes.ts';
import { COMPUTE_DTYPES } from '../src/bench/variants.ts';
import { chooseDtype } from '../src/dtype/index.ts';
import { createModel, type ComputeDtype, type Model } from '../src/index.ts';
import { toNativeConfig } from '../src/model/native-config.ts';
import { stepCase, timeStepsInTurn } from './steps-in-turn.ts';
import { alternationsOf } from './types.ts';

const BATCHES = [1, 8, 32] as const;
const ACCURACIES = { bfloat16: ['float32', 'bfloat16'], int8: COMPUTE_DTYPES } as const;
const ADMITTING = ['bfloat16', 'int8'] as const;

const WANTED_SHARE = 0.97;
const ALLOWED_SECONDS = 1;

export async function measureAuto(options: RunOptions): Promise<Benchmark> {
  const shapes: readonly ShapeName[] = options.quick ? ['t5-small'] : ['t5-small', 't5-base'];
  const directory = await mkdtemp(path.join(tmpdir(), 'wgqa-bench-'));
  const before = process.env['XDG_CACHE_HOME'];
  // Nothing is remembered there yet: every choice is measured.
  process.env['XDG_CACHE_HOME'] = directory;
  try {
    const measurements: Measurement[] = [];
    for (const shape of shapes) {
      for (const batch of BATCHES) {
        options.onProgress(`${shapeTitle(shape)}, batch ${String(batch)}`);
        measurements.push(...(await choosing(shape, batch, options)));
      }
    }
    return { title: "dtype: 'auto', beside the best fixed type", measurements };
  } finally {
    if (before === undefined) delete process.env['XDG_CACHE_HOME'];
    else process.env['XDG_CACHE_HOME'] = before;
    await rm(directory, { recursive: true });
  }
}

async function choosing(
  shape: ShapeName,
  batch: number,
  options: RunOptions,
): Promise<Measurement[]> {
  const config = decoderOf(SHAPES[shape]);
  const models = new Map<string, Model>();
  try {
    const title = `${shapeTitle(shape)}, batch ${String(batch)}`;
    for (const dtype of COMPUTE_DTYPES) {
      models.set(dtype, await createModel(config, { device: 'cpu', dtype }));
    }
    const seconds = await choosingSeconds(models.get('float32')!, batch);
    for (const accuracy of ADMITTING) {
      const auto = { device: 'cpu', dtype: 'auto', accuracy, expectedBatch: batch } as const;
      models.set(`auto ${accuracy}`, await createModel(config, auto));
    }
    const step = stepCase(batch, options.quick);
    const timed = await timeStepsInTurn(models, step, alternationsOf(options), false);
    const rates = (name: string): number[] =>
      (timed.get(name)?.milliseconds ?? []).map((one) => 1000 / one);
    return [
      ...ADMITTING.map((accuracy) => {
        const best = fastestOf(ACCURACIES[accuracy], rates);
        return compareInTurn({
          name: `${title}, accuracy '${accuracy}': ${models.get(`auto ${accuracy}`)?.dtype ?? ''}`,
          limitName: `${best}, the best fixed type`,
          unit: 'steps/s',
          values: rates(`auto ${accuracy}`),
          limits: rates(best),
          wanted: { reaches: WANTED_SHARE },
        });
      }),
      {
        name: `${title}: measuring`,
        value: seconds,
        limitName: 'allowed',
        limit: ALLOWED_SECONDS,
        unit: 's',
        wanted: { below: 1 },
      },
    ];
  } finally {
    for (const model of models.values()) await model.dispose();
  }
}

/** Until a choice is made that nothing is known of; models made after it find it. */
async function choosingSeconds({ config }: Model, expectedBatch: number): Promise<number> {
  const start = performance.now();
  await chooseDtype({
    config: toNativeConfig(config),
    fileDtype: 'float32',
    accuracy: 'int8',
    expectedBatch,
    device: 'cpu',
    threads: 0,
  });
  return (performance.now() - start) / 1000;
}

function fastestOf(
  dtypes: readonly ComputeDtype[],
  rates: (name: string) => readonly number[],
): ComputeDtype {
  return dtypes.reduce((best, dtype) =>
    median(rates(dtype)) > median(rates(best)) ? dtype : best,
  );
}
