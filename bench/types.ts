/**
 * The compute types beside each other: models of one shape in float32, bfloat16 and int8, each with
 * the cache that it has by default, decode and encode in turn.
 */
import {
  compareInTurn,
  type Benchmark,
  type Compared,
  type Measurement,
} from '../src/bench/measurement.ts';
import { alternate } from '../src/bench/ratio.ts';
import type { RunOptions } from '../src/bench/run-options.ts';
import { decoderOf, SHAPES, shapeTitle, type ShapeName } from '../src/bench/shapes.ts';
import { encodingSubject, type Subject } from '../src/bench/subjects.ts';
import { COMPUTE_DTYPES } from '../src/bench/variants.ts';
import { createModel, type ComputeDtype, type Model } from '../src/index.ts';
import { native } from '../src/native.ts';
import { SOURCE_TOKENS, stepCase, timeStepsInTurn, type TimedSteps } from './steps-in-turn.ts';
import { wishesFor, type TypeWishes } from './type-wishes.ts';

const BATCHES = [1, 8, 32] as const;
const SEQUENCES = [1, 8] as const;
/** Eleven, and no fewer than nine: the interval of the median then leaves out a value at each end. */
const ALTERNATIONS = 11;

type Models = ReadonlyMap<ComputeDtype, Model>;

export async function measureTypes(options: RunOptions): Promise<Benchmark> {
  const shapes: readonly ShapeName[] = options.quick ? ['t5-small'] : ['t5-small', 't5-base'];
  const wishes = wishesFor(native().cpu().isa);
  const measurements: Measurement[] = [];
  for (const shape of shapes) {
    const title = shapeTitle(shape);
    await withModels(decoderOf(SHAPES[shape]), async (models) => {
      for (const batch of BATCHES) {
        options.onProgress(`${title}, all types decode, batch ${String(batch)}`);
        measurements.push(...(await decoding(models, title, batch, wishes, options)));
      }
    });
    await withModels(SHAPES[shape], async (models) => {
      options.onProgress(`${title}, all types encode`);
      measurements.push(...(await encoding(models, title, wishes, options)));
    });
  }
  return { title: 'types beside float32, each with its default cache', measurements };
}

export function alternationsOf({ quick }: RunOptions): number {
  return quick ? 3 : ALTERNATIONS;
}

async function withModels(
  config: Readonly<Record<string, unknown>>,
  use: (models: Models) => Promise<void>,
): Promise<void> {
  const models = new Map<ComputeDtype, Model>();
  try {
    for (const dtype of COMPUTE_DTYPES) {
      models.set(dtype, await createModel(config, { dtype, device: 'cpu' }));
    }
    await use(models);
  } finally {
    for (const model of models.values()) await model.dispose();
  }
}

function atLeast(share: number | undefined): Pick<Compared, 'wanted'> {
  return share === undefined ? {} : { wanted: { atLeast: share } };
}

async function decoding(
  models: Models,
  title: string,
  batch: number,
  wishes: TypeWishes,
  options: RunOptions,
): Promise<Measurement[]> {
  const step = stepCase(batch, options.quick);
  const timed = await timeStepsInTurn(models, step, alternationsOf(options), batch <= 8);
  const place = `batch ${String(batch)}, ${String(SOURCE_TOKENS)} source tokens`;
  const rates = ({ milliseconds }: TimedSteps): number[] => milliseconds.map((one) => 1000 / one);
  const limit = rates(timed.get('float32')!);
  const ratios = [...timed].flatMap(([dtype, steps]) =>
    dtype === 'float32'
      ? []
      : compareInTurn({
          name: `${title}, ${dtype}, ${place}: step`,
          limitName: 'float32',
          unit: 'steps/s',
          values: rates(steps),
          limits: limit,
          ...atLeast(wishes.step(dtype, batch)),
        }),
  );
  const shares = [...timed].flatMap(([dtype, steps]) => {
    if (steps.readRates.length === 0) return [];
    const what = batch === 1 ? 'weights' : 'weights and cache';
    const gigabytes = batch === 1 ? steps.weightBytes : steps.bytes;
    return compareInTurn({
      name: `${title}, ${dtype}, ${place}: ${what} read`,
      limitName: 'reading as many bytes',
      unit: 'GB/s',
      values: steps.milliseconds.map((one) => (1000 * gigabytes) / one),
      limits: steps.readRates,
      ...atLeast(wishes.bandwidth(dtype, batch)),
      details: { gigabytes },
    });
  });
  return [...ratios, ...shares];
}

async function encoding(
  models: Models,
  title: string,
  wishes: TypeWishes,
  options: RunOptions,
): Promise<Measurement[]> {
  const subjects = new Map<string, Subject>();
  const key = (dtype: ComputeDtype, sequences: number): string => `${dtype} ${String(sequences)}`;
  for (const sequences of SEQUENCES) {
    for (const [dtype, model] of models) {
      const subject = await encodingSubject(model, { sequences, tokens: SOURCE_TOKENS });
      subjects.set(key(dtype, sequences), subject);
    }
  }
  const runs = new Map([...subjects].map(([name, one]) => [name, () => one.measure()]));
  const found = await alternate(alternationsOf(options), runs);
  const rates = (dtype: ComputeDtype, sequences: number): number[] =>
    (found.get(key(dtype, sequences)) ?? []).map((one) => (1000 * sequences * SOURCE_TOKENS) / one);
  const place = (count: number): string => `${String(count)} × ${String(SOURCE_TOKENS)} tokens`;
  const ratios = SEQUENCES.flatMap((sequences) =>
    (['bfloat16', 'int8'] as const).map((dtype) =>
      compareInTurn({
        name: `${title}, ${dtype}, ${place(sequences)}: encoding`,
        limitName: 'float32',
        unit: 'tokens/s',
        values: rates(dtype, sequences),
        limits: rates('float32', sequences),
        ...atLeast(wishes.encoding(dtype)),
      }),
    ),
  );
  const [one, many] = SEQUENCES;
  const alone = compareInTurn({
    name: `${title}, float32, ${place(one)}: encoding`,
    limitName: place(many),
    unit: 'tokens/s',
    values: rates('float32', one),
    limits: rates('float32', many),
    ...atLeast(wishes.alone),
  });
  return [...ratios, alone];
}
