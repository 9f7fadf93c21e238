/** From a checkpoint on disk to the first token. */
import { Engine, loadModel, type ComputeDtype } from '../index.ts';
import { compare, type Measurement } from './measurement.ts';
import { sourceOf } from './sources.ts';

export interface LoadingCase {
  readonly title: string;
  readonly directory: string;
  readonly dtype: ComputeDtype;
  readonly sourceTokens: number;
  /** Called before each repetition, e.g. to drop the system's cache of the files. */
  readonly prepare?: () => Promise<void>;
  readonly repetitions: number;
  readonly allowedMilliseconds: number;
}

/** Loads and decodes one token; packing the weights is part of it. */
export async function measureLoading(given: LoadingCase): Promise<Measurement> {
  const { title, directory, dtype, sourceTokens, repetitions } = given;
  const totals: number[] = [];
  const loads: number[] = [];
  for (let i = 0; i < repetitions; ++i) {
    await given.prepare?.();
    const start = performance.now();
    await using model = await loadModel(directory, { dtype });
    loads.push(performance.now() - start);
    await using engine = new Engine(model);
    const inputIds = sourceOf(model.config.vocab_size, sourceTokens, 1);
    await engine.generate({ inputIds, maxNewTokens: 1 });
    totals.push(performance.now() - start);
  }
  return compare({
    name: `${title}, ${dtype}`,
    limitName: `${String(given.allowedMilliseconds)} ms`,
    unit: 'ms',
    values: totals,
    limits: [given.allowedMilliseconds],
    wanted: { below: 1 },
    details: { loadMilliseconds: Math.min(...loads) },
  });
}
