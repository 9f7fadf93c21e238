/** Loading a checkpoint of T5-base's shape: memory-mapped, so that it takes next to no time. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createModel, loadModel, type FloatDtype } from '../src/index.ts';
import { median, type Benchmark, type Measurement } from './measure.ts';
import { T5_BASE } from './shapes.ts';

const REPETITIONS = 5;
const ALLOWED_MILLISECONDS = 1000;

export async function measureLoading(): Promise<Benchmark> {
  const directory = await mkdtemp(path.join(tmpdir(), 'wgqa-bench-'));
  try {
    const measurements: Measurement[] = [];
    for (const dtype of ['float32', 'bfloat16'] as const) {
      const checkpoint = path.join(directory, dtype);
      await saveRandomModel(checkpoint, dtype);
      measurements.push(await measureCheckpoint(checkpoint, dtype));
    }
    return { title: 'loading a checkpoint', measurements };
  } finally {
    await rm(directory, { recursive: true });
  }
}

async function saveRandomModel(directory: string, dtype: FloatDtype): Promise<void> {
  await using model = await createModel(T5_BASE);
  await model.save(directory, { dtype });
}

async function measureCheckpoint(directory: string, dtype: FloatDtype): Promise<Measurement> {
  const times: number[] = [];
  for (let i = 0; i < REPETITIONS; ++i) {
    const start = performance.now();
    const model = await loadModel(directory);
    times.push(performance.now() - start);
    await model.dispose();
  }
  return {
    name: `T5-base, stored in ${dtype}`,
    value: median(times),
    limitName: 'one second',
    limit: ALLOWED_MILLISECONDS,
    unit: 'ms',
    wanted: { below: 1 },
  };
}
