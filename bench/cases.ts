/** The cases of src/bench with the shapes, variants and wishes of this project. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { measureDecodeStep } from '../src/bench/decode-step.ts';
import { measureEncoder } from '../src/bench/encoder.ts';
import { measureContext, measureGeneration } from '../src/bench/generation.ts';
import { measureLoading } from '../src/bench/loading.ts';
import type { Benchmark, Measurement } from '../src/bench/measurement.ts';
import { measureMemory } from '../src/bench/memory.ts';
import type { RunOptions } from '../src/bench/run-options.ts';
import { decoderOf, SHAPES, shapeTitle, type ShapeName } from '../src/bench/shapes.ts';
import { measureTrainingStep } from '../src/bench/training-step.ts';
import {
  COMPUTE_DTYPES,
  foldedWgqa,
  kvHeadsToCompare,
  TRAINING_DTYPES,
  variantName,
  withKvHeads,
} from '../src/bench/variants.ts';
import { createModel, type ComputeDtype, type Model } from '../src/index.ts';
import { dropFileCache } from './file-cache.ts';

/** The shape that wishes are about, and a smaller one that tells as much sooner. */
function shapeFor({ quick }: RunOptions): ShapeName {
  return quick ? 't5-small' : 't5-base';
}

/** Calls `measure` with the model in every variant, and disposes of those it made. */
async function forEachVariant<T>(
  model: Model,
  kvHeads: readonly number[],
  measure: (variant: Model, name: string) => Promise<T>,
): Promise<T[]> {
  const results: T[] = [];
  for (const count of kvHeads) {
    const variant = await withKvHeads(model, count);
    results.push(await measure(variant, variantName(model.config.num_heads, count)));
    if (variant !== model) await variant.dispose();
  }
  return results;
}

/** Calls `measure` with a new model of each precision. */
async function forEachDtype(
  config: Readonly<Record<string, unknown>>,
  measure: (model: Model, dtype: ComputeDtype) => Promise<Measurement[]>,
): Promise<Measurement[]> {
  const measurements: Measurement[] = [];
  for (const dtype of COMPUTE_DTYPES) {
    await using model = await createModel(config, { dtype });
    measurements.push(...(await measure(model, dtype)));
  }
  return measurements;
}

export async function measureDecoding(options: RunOptions): Promise<Benchmark> {
  const { quick, onProgress } = options;
  const shape = shapeFor(options);
  const { num_heads: heads } = SHAPES[shape];
  const measurements = await forEachDtype(decoderOf(SHAPES[shape]), async (model, dtype) => {
    const variants = quick ? [heads, heads / 4] : kvHeadsToCompare(heads);
    const all = await forEachVariant(model, variants, async (variant, name) => {
      const results: Measurement[] = [];
      for (const batch of variant === model ? [1, 8, 32] : [1, 32]) {
        onProgress(`decoding step, ${name}, ${dtype}, batch ${String(batch)}`);
        const wishes = new Map([
          [1, 0.8],
          [32, 0.6],
        ]);
        const atLeast = variant === model ? wishes.get(batch) : undefined;
        results.push(
          ...(await measureDecodeStep(variant, {
            title: `${shapeTitle(shape)}, ${name}`,
            batch,
            sourceTokens: 64,
            newTokens: 24,
            repetitions: quick ? 3 : 7,
            ...(atLeast !== undefined && { atLeast }),
          })),
        );
      }
      return results;
    });
    return all.flat();
  });
  return { title: 'a decoding step', measurements };
}

export async function measureEncoding(options: RunOptions): Promise<Benchmark> {
  const shape = shapeFor(options);
  // Its decoder only adds the projections of cross-attention: one layer is enough.
  const config = { ...SHAPES[shape], num_decoder_layers: 1 };
  const measurements = await forEachDtype(config, async (model, dtype) => {
    options.onProgress(`encoder, ${dtype}`);
    return measureEncoder(model, {
      title: `${shapeTitle(shape)} encoder`,
      sequences: 8,
      tokens: 512,
      repetitions: options.quick ? 3 : 5,
      ...(dtype === 'bfloat16' && { atLeast: 0.75 }),
    });
  });
  return { title: 'encoding sources', measurements };
}

export async function measureGenerating(options: RunOptions): Promise<Benchmark> {
  const { quick, onProgress } = options;
  const measurements: Measurement[] = [];
  for (const shape of quick ? (['t5-small'] as const) : (['t5-small', 't5-base'] as const)) {
    const found = await forEachDtype(decoderOf(SHAPES[shape]), async (model, dtype) => {
      const results: Measurement[] = [];
      const folded = await foldedWgqa(model, SHAPES[shape].num_heads / 4);
      for (const [variant, name] of [
        [model, 'MHA'],
        [folded, 'WGQA, ¼ of the heads'],
      ] as const) {
        for (const sourceTokens of quick ? [64] : [64, 512, 2048]) {
          for (const numBeams of [1, 4]) {
            onProgress(`generation, ${shape}, ${name}, ${dtype}, ${String(sourceTokens)} tokens`);
            const generation = {
              title: `${shapeTitle(shape)}, ${name}`,
              // Beams and long sources at batch 32 say no more, and take gigabytes.
              batches: sourceTokens > 512 || numBeams > 1 ? [1, 8] : [1, 8, 32],
              sourceTokens,
              newTokens: quick ? 16 : 32,
              numBeams,
              repetitions: quick ? 2 : 3,
            };
            results.push(...(await measureGeneration(variant, generation)));
          }
        }
      }
      await folded.dispose();
      return results;
    });
    measurements.push(...found);
  }
  return { title: 'generation, whole sequences without end tokens', measurements };
}

export async function measureContexts(options: RunOptions): Promise<Benchmark> {
  const { quick, onProgress } = options;
  const shape = shapeFor(options);
  const { num_heads: heads } = SHAPES[shape];
  onProgress('cost by context');
  await using model = await createModel(decoderOf(SHAPES[shape]));
  const variants: { title: string; model: Model }[] = [];
  try {
    for (const kvHeads of kvHeadsToCompare(heads)) {
      const title = `${shapeTitle(shape)}, ${variantName(heads, kvHeads)}`;
      variants.push({ title, model: await withKvHeads(model, kvHeads) });
    }
    const measurements = await measureContext(variants, {
      batch: 8,
      sourceTokens: quick ? [64, 512] : [64, 512, 1024, 2048, 4096],
      newTokens: 16,
      repetitions: quick ? 3 : 5,
    });
    return { title: 'a step by the length of the source', measurements };
  } finally {
    for (const variant of variants) if (variant.model !== model) await variant.model.dispose();
  }
}

export async function measureTraining({ quick, onProgress }: RunOptions): Promise<Benchmark> {
  const measurements: Measurement[] = [];
  const wishes: Readonly<Record<string, number>> = { float32: 0.7, bfloat16: 0.55 };
  for (const { dtype, options } of TRAINING_DTYPES) {
    onProgress(`training step, ${dtype}`);
    await using model = await createModel(SHAPES['t5-small']);
    const atLeast = wishes[dtype];
    measurements.push(
      ...(await measureTrainingStep(model, {
        title: 'T5-small, AdamW, dropout 0.1',
        dtype,
        options,
        rows: 8,
        sourceTokens: 128,
        targetTokens: 64,
        repetitions: quick ? 3 : 7,
        ...(atLeast !== undefined && { atLeast }),
      })),
    );
  }
  return { title: 'a training step', measurements };
}

export async function measureStarting(options: RunOptions): Promise<Benchmark> {
  const shape = shapeFor(options);
  const directory = await mkdtemp(path.join(tmpdir(), 'wgqa-bench-'));
  try {
    const measurements: Measurement[] = [];
    for (const dtype of COMPUTE_DTYPES) {
      const checkpoint = path.join(directory, dtype);
      await using model = await createModel(SHAPES[shape]);
      // There are no int8 files: those weights are quantised as they are loaded.
      await model.save(checkpoint, { dtype: dtype === 'int8' ? 'bfloat16' : dtype });
      for (const [title, prepare] of [
        ['cold', () => dropFileCache(checkpoint)],
        ['again', undefined],
      ] as const) {
        options.onProgress(`loading, ${dtype}, ${title}`);
        const measured = await measureLoading({
          title: `${shapeTitle(shape)}, to the first token, ${title}`,
          directory: checkpoint,
          dtype,
          sourceTokens: 64,
          ...(prepare && { prepare }),
          repetitions: options.quick ? 2 : 5,
          allowedMilliseconds: 1500,
        });
        measurements.push(measured);
      }
    }
    return { title: 'from the checkpoint to the first token', measurements };
  } finally {
    await rm(directory, { recursive: true });
  }
}

export async function measureMemories(options: RunOptions): Promise<Benchmark> {
  const shape = shapeFor(options);
  const { num_heads: heads } = SHAPES[shape];
  const measurements = await forEachDtype(SHAPES[shape], async (model, dtype) => {
    let multiHead: number | undefined;
    const all = await forEachVariant(model, kvHeadsToCompare(heads), async (variant, name) => {
      options.onProgress(`memory, ${name}, ${dtype}`);
      const memory = {
        title: `${shapeTitle(shape)}, ${name}`,
        batch: 2,
        sourceTokens: 512,
        newTokens: 16,
      };
      const { measurements: found, cacheBytes } = await measureMemory(variant, memory, multiHead);
      multiHead ??= cacheBytes;
      return found;
    });
    return all.flat();
  });
  return { title: 'memory', measurements };
}
