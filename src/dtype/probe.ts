/** The model that is measured in place of one: its sizes, as many layers as can be timed soon. */
import type { NativeModelConfig } from '../native.ts';

/** Sources that T5 was trained on have as many tokens. */
export const SOURCE_TOKENS = 512;
export const TARGET_TOKENS = 16;
/** More rows are no faster, each: a step of more would only take longer. */
export const MOST_ROWS = 32;

/** Float32 weights read in a step: past the caches of most machines, and soon made. */
const MOST_WEIGHTS = 3 * 2 ** 23;
/** Multiplications of a step: some 50 ms in float32. */
const MOST_PRODUCTS = 2 ** 28;
/** Layers of more weights than a step may have are narrowed, but not below so many. */
const LEAST_WEIGHTS = 2 ** 24;
/** A narrowed layer has whole multiples of so many: products of other sizes may be slower. */
const FEATURES = 64;

/** Decoder sizes that the time of a step depends on. */
export interface ProbeShape {
  readonly dModel: number;
  readonly dKv: number;
  readonly dFf: number;
  readonly heads: number;
  readonly selfKvHeads: number;
  readonly crossKvHeads: number;
  readonly gated: boolean;
  readonly layers: number;
  readonly vocabSize: number;
}

/** What two models have in common whose choice is the same: also the key of what is remembered. */
export function probeShapeOf(config: NativeModelConfig): ProbeShape {
  const { dModel, dKv, dFf, heads, gated, decoderLayers: layers, vocabSize, kvHeads } = config;
  return {
    dModel,
    dKv,
    dFf,
    heads,
    selfKvHeads: typicalKvHeads(kvHeads['decoder.self'], heads),
    crossKvHeads: typicalKvHeads(kvHeads['decoder.cross'], heads),
    gated,
    layers,
    vocabSize,
  };
}

/** The divisor of `heads` that is nearest to the mean over the layers. */
function typicalKvHeads(kvHeads: number | readonly number[], heads: number): number {
  const list = typeof kvHeads === 'number' ? [kvHeads] : kvHeads;
  const mean = list.reduce((sum, one) => sum + one, 0) / list.length;
  const divisors = Array.from({ length: heads }, (_, i) => i + 1).filter((i) => heads % i === 0);
  return divisors.reduce((best, one) =>
    Math.abs(one - mean) < Math.abs(best - mean) ? one : best,
  );
}

/** Rows that are measured for an expected batch: one measurement serves those up to a power of two. */
export function probeRows(expectedBatch: number): number {
  return Math.min(2 ** Math.ceil(Math.log2(expectedBatch)), MOST_ROWS);
}

function layerWeights(shape: ProbeShape): number {
  const { dModel, dKv, dFf, heads, selfKvHeads, gated, layers, vocabSize } = shape;
  const attention = dModel * dKv * (4 * heads + 2 * selfKvHeads);
  return attention + (gated ? 3 : 2) * dModel * dFf + (dModel * vocabSize) / layers;
}

/** `shape` with its width left as it is and all else divided: for layers too large to be timed. */
function narrowed(shape: ProbeShape, divisor: number): ProbeShape {
  const groups = [shape.heads / shape.selfKvHeads, shape.heads / shape.crossKvHeads] as const;
  const largest = Math.max(...groups);
  const heads = largest * Math.max(1, Math.floor(shape.heads / largest / divisor));
  const kvHeads = (group: number): number => (heads % group === 0 ? heads / group : heads);
  const dFf = Math.floor(shape.dFf / divisor / FEATURES) * FEATURES;
  return {
    ...shape,
    heads,
    selfKvHeads: kvHeads(groups[0]),
    crossKvHeads: kvHeads(groups[1]),
    dFf: Math.max(FEATURES, dFf),
    vocabSize: Math.ceil(shape.vocabSize / divisor),
  };
}

/**
 * What is measured for steps of `rows`: layers, and of the vocabulary as large a share as of the
 * layers, so that a step spends its time on the same things as the whole model's.
 */
export function probeOf(shape: ProbeShape, rows: number): ProbeShape {
  const budget = Math.min(MOST_WEIGHTS, MOST_PRODUCTS / rows);
  const weights = layerWeights(shape);
  const most = Math.max(budget, LEAST_WEIGHTS);
  const fitting = weights > most ? narrowed(shape, weights / most) : shape;
  const layers = Math.min(shape.layers, Math.max(1, Math.floor(budget / layerWeights(fitting))));
  const vocabSize = Math.max(32, Math.ceil((fitting.vocabSize * layers) / shape.layers));
  return { ...fitting, layers, vocabSize };
}

/** The probe as native code takes it; everything that takes no time as `config` has it. */
export function probeConfig(config: NativeModelConfig, probe: ProbeShape): NativeModelConfig {
  const { granularity: _, ...rest } = config;
  return {
    ...rest,
    dFf: probe.dFf,
    heads: probe.heads,
    vocabSize: probe.vocabSize,
    encoderLayers: 1,
    decoderLayers: probe.layers,
    kvHeads: {
      'encoder.self': probe.heads,
      'decoder.self': probe.selfKvHeads,
      'decoder.cross': probe.crossKvHeads,
    },
    // Both are multiplied into the projections before a step.
    mergedModules: [],
    expandedModules: [],
    constraint: 'none',
    padTokenId: 0,
    eosTokenIds: [],
    decoderStartTokenId: 0,
  };
}
