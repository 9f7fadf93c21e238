/** What `wgqa bench` measures of one model: what can be run with the package alone. */
import { createModel, loadModel, type ComputeDtype, type Device, type Model } from '../index.ts';
import { throwIfAborted } from '../model/index.ts';
import { measureDecodeStep } from './decode-step.ts';
import { measureEncoder } from './encoder.ts';
import { measureGeneration } from './generation.ts';
import { measureLoading } from './loading.ts';
import type { Benchmark, Measurement } from './measurement.ts';
import { measureMemory } from './memory.ts';
import type { RunOptions } from './run-options.ts';
import { SHAPES, shapeTitle, type ShapeName } from './shapes.ts';
import { measureTrainingStep } from './training-step.ts';

export const SUITE_CASES = [
  'decode',
  'encoder',
  'generation',
  'training',
  'loading',
  'memory',
] as const;
export type SuiteCase = (typeof SUITE_CASES)[number];

/** A checkpoint directory, or a published shape with random weights. */
export type Subject = { readonly directory: string } | { readonly shape: ShapeName };

export interface SuiteOptions extends RunOptions {
  readonly subject: Subject;
  /** Default 'auto'. */
  readonly device?: 'auto' | Device;
  readonly cases: readonly SuiteCase[];
  readonly dtypes: readonly ComputeDtype[];
  readonly batches: readonly number[];
  readonly sourceTokens: number;
}

/** One case in one precision, of a model that was made for it. */
type Measure = (
  model: Model,
  title: string,
  options: SuiteOptions,
) => Promise<readonly Measurement[]>;

const NEW_TOKENS = 24;
const ALLOWED_LOADING_MILLISECONDS = 1500;

function repetitions({ quick }: RunOptions): number {
  return quick ? 3 : 7;
}

const MODEL_CASES: Readonly<Record<Exclude<SuiteCase, 'loading' | 'training'>, Measure>> = {
  async decode(model, title, options) {
    const measurements: Measurement[] = [];
    for (const batch of options.batches) {
      throwIfAborted(options.signal);
      const { sourceTokens } = options;
      const step = { title, batch, sourceTokens, newTokens: NEW_TOKENS };
      const given = { ...step, repetitions: repetitions(options) };
      measurements.push(...(await measureDecodeStep(model, given)));
    }
    return measurements;
  },
  encoder(model, title, options) {
    return measureEncoder(model, {
      title: `${title} encoder`,
      sequences: Math.max(...options.batches),
      tokens: options.sourceTokens,
      repetitions: repetitions(options),
    });
  },
  async generation(model, title, options) {
    const measurements: Measurement[] = [];
    for (const numBeams of [1, 4]) {
      throwIfAborted(options.signal);
      const generation = {
        title,
        batches: options.batches,
        sourceTokens: options.sourceTokens,
        newTokens: NEW_TOKENS,
        numBeams,
        repetitions: repetitions(options),
      };
      measurements.push(...(await measureGeneration(model, generation)));
    }
    return measurements;
  },
  async memory(model, title, options) {
    const batch = Math.max(...options.batches);
    const { sourceTokens } = options;
    const { measurements } = await measureMemory(model, {
      title,
      batch,
      sourceTokens,
      newTokens: NEW_TOKENS,
    });
    return measurements;
  },
};

/**
 * @throws WgqaError as loadModel does; ABORTED once the signal has fired
 */
export async function runSuite(options: SuiteOptions): Promise<Benchmark> {
  const { subject, cases, dtypes, signal, onProgress } = options;
  const title = 'directory' in subject ? subject.directory : shapeTitle(subject.shape);
  const measurements: Measurement[] = [];
  const impossible = [];
  for (const name of cases) {
    for (const dtype of name === 'training' ? (['float32'] as const) : dtypes) {
      throwIfAborted(signal);
      onProgress(`${name}, ${dtype}`);
      if (name === 'loading') {
        if ('directory' in subject) measurements.push(await loading(subject, dtype, options));
        continue;
      }
      await using model = await modelOf(dtype, options);
      const measure = name === 'training' ? training : MODEL_CASES[name];
      measurements.push(...(await measure(model, title, options)));
    }
  }
  if (cases.includes('loading') && 'shape' in subject) {
    impossible.push({ name: 'loading', reason: 'a shape is in no directory' });
  }
  return { title, measurements, impossible };
}

async function modelOf(
  dtype: ComputeDtype,
  { subject, device, signal }: SuiteOptions,
): Promise<Model> {
  const loading = { dtype, ...(device && { device }), ...(signal && { signal }) };
  if ('shape' in subject) return createModel(SHAPES[subject.shape], loading);
  return loadModel(subject.directory, loading);
}

function loading(
  { directory }: { readonly directory: string },
  dtype: ComputeDtype,
  options: SuiteOptions,
): Promise<Measurement> {
  return measureLoading({
    title: `${directory}, to the first token`,
    directory,
    dtype,
    sourceTokens: options.sourceTokens,
    repetitions: repetitions(options),
    allowedMilliseconds: ALLOWED_LOADING_MILLISECONDS,
  });
}

/** Changes the weights in memory; the files stay as they are. */
function training(model: Model, title: string, options: SuiteOptions): Promise<Measurement[]> {
  return measureTrainingStep(model, {
    title: `${title}, training step`,
    dtype: 'float32',
    options: {},
    rows: Math.max(...options.batches),
    sourceTokens: options.sourceTokens,
    targetTokens: Math.ceil(options.sourceTokens / 2),
    repetitions: repetitions(options),
  });
}
