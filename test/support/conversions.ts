/** Conversions in all their combinations, and what their tests share. */
import type { CalibrationBatch, ConvertOptions, Model, Tensor } from '../../src/index.ts';
import { tinyBatch } from './tiny-model.ts';

export type Named<T> = readonly [name: string, value: T];

export const CALIBRATION: readonly CalibrationBatch[] = [tinyBatch(11), tinyBatch(21)];

/** For the four heads and three decoder layers of tiny models: every divisor in either module. */
export const BY_LAYER = { 'decoder.self': [1, 2, 4], 'decoder.cross': [4, 1, 2] } as const;

const GRANULARITIES = ['head', 'row', 'column'] as const;
const CONSTRAINTS = ['none', 'softmax', 'signed'] as const;

/** Every way to merge the heads of a group: from random weights, with which no mix-up is hidden. */
export const MERGES: readonly Named<ConvertOptions>[] = [
  ['mean', { merge: 'mean' }],
  ['started at the mean', { merge: 'weighted' }],
  ['least squares', { merge: 'weighted', init: 'least-squares' }],
  ...GRANULARITIES.flatMap((granularity) =>
    CONSTRAINTS.map((constraint): Named<ConvertOptions> => {
      const options = {
        merge: 'weighted',
        granularity,
        constraint,
        init: 'random',
        seed: 5,
      } as const;
      return [`${granularity}, ${constraint}`, options];
    }),
  ),
];

const ALL_MODULES = ['decoder.self', 'decoder.cross', 'encoder.self'] as const;
const HEADS: readonly Named<ConvertOptions>[] = [
  ['neighbours', { kvHeads: 2, modules: ALL_MODULES }],
  ['similar heads', { kvHeads: 2, modules: ALL_MODULES, grouping: 'similarity' }],
  ['heads by layer', { kvHeads: BY_LAYER }],
];

/** Every way to prepare heads for their merge. */
export const PREPARATIONS: readonly Named<ConvertOptions>[] = HEADS.flatMap(([heads, options]) =>
  (['none', 'orthogonal'] as const).flatMap((alignment) =>
    [false, true].map((expansion): Named<ConvertOptions> => {
      const also = [
        ...(alignment === 'none' ? [] : ['aligned']),
        ...(expansion ? ['expanded'] : []),
      ];
      return [[heads, ...also].join(', '), { ...options, alignment, expansion }];
    }),
  ),
);

export async function logitsOf(model: Model): Promise<Tensor> {
  return (await model.forward(tinyBatch())).logits;
}

/** Names of the parameters that end with one of `suffixes`. */
export function parametersNamed(model: Model, ...suffixes: readonly string[]): string[] {
  return [...model.parameters().keys()].filter((name) =>
    suffixes.some((suffix) => name.endsWith(suffix)),
  );
}

/** The values of all parameters with these names. */
export async function valuesOf(model: Model, names: readonly string[]): Promise<Float32Array[]> {
  return Promise.all(names.map(async (name) => (await model.readParameter(name)).data));
}
