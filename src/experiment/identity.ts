/** What a run depends on, as one hash: a result is taken for a run's own only where it is the same. */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readdir } from 'node:fs/promises';
import path from 'node:path';
import { readError } from '../checkpoint/io-errors.ts';
import { throwIfAborted } from '../model/index.ts';
import type { ExperimentData } from './data.ts';
import type { DatasetPlan, ExperimentPlan, VariantPlan } from './plan.ts';
import { isCalibrated } from './variants.ts';

/** SHA-256 of a checkpoint's weights and configuration. @throws WgqaError NOT_FOUND, IO, ABORTED */
export async function hashCheckpoint(
  directory: string,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = createHash('sha256');
  try {
    const names = (await readdir(directory)).sort();
    for (const name of names.filter((file) => /^config\.json$|\.safetensors$/.test(file))) {
      hash.update(name);
      const stream = createReadStream(path.join(directory, name), { signal });
      for await (const chunk of stream) hash.update(chunk as Uint8Array);
    }
  } catch (error) {
    throwIfAborted(signal);
    throw readError(error, directory);
  }
  return hash.digest('hex');
}

export interface RunInputs {
  readonly plan: ExperimentPlan;
  readonly dataset: DatasetPlan;
  readonly variant: VariantPlan;
  readonly seed: number;
  readonly data: ExperimentData;
  /** SHA-256 of the base checkpoint. */
  readonly base: string;
}

export function runIdentity({ plan, dataset, variant, seed, data, base }: RunInputs): string {
  const { settings, training, evaluation } = plan;
  const { checkpointEvery: _, ...steps } = training;
  const { samples: __, ...scoring } = evaluation;
  const { conversion, budget, trained, trainable, distillation } = variant;
  const calibrationPairs = isCalibrated(variant) ? dataset.calibrationPairs : undefined;
  const parts = [
    // JSON leaves out what is undefined: only runs that it matters to know of it.
    { base, data: data.identity, seed, conversion, scoring, budget, calibrationPairs },
    trained
      ? { settings, steps, trainable, batchSize: dataset.batchSize, distillation }
      : 'as converted',
  ];
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex');
}
