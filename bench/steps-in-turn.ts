/** Decoding steps of several models on the same sources, in turn. */
import { readRate } from '../src/bench/limits.ts';
import { ELEMENT_BYTES } from '../src/bench/decode-step.ts';
import { alternate } from '../src/bench/ratio.ts';
import { stepSubject, type StepCase, type StepSubject } from '../src/bench/subjects.ts';
import { kvHeadsOf, type ComputeDtype, type Model } from '../src/index.ts';

/** Tokens of a source that T5 was trained on. */
export const SOURCE_TOKENS = 512;

export interface TimedSteps {
  /** Of each alternation. */
  readonly milliseconds: readonly number[];
  /** Gigabytes per second of reading as many bytes, beside each. */
  readonly readRates: readonly number[];
  /** Gigabytes that a step reads: weights, and with them the cache. */
  readonly weightBytes: number;
  readonly bytes: number;
}

/** Fewer tokens where a step takes longer. */
export function stepCase(batch: number, quick: boolean): StepCase {
  const newTokens = quick ? 6 : Math.max(6, Math.ceil(32 / Math.sqrt(batch)));
  return { batch, sourceTokens: SOURCE_TOKENS, newTokens };
}

/** @param limits whether reading as many bytes as each is measured, too, in turn with the steps */
export async function timeStepsInTurn<Name extends string>(
  models: ReadonlyMap<Name, Model>,
  step: StepCase,
  alternations: number,
  limits: boolean,
): Promise<Map<Name, TimedSteps>> {
  const subjects = new Map<Name, StepSubject>();
  try {
    for (const [name, model] of models) subjects.set(name, await stepSubject(model, step));
    const bytes = new Map<Name, number>();
    const runs = new Map<string, () => Promise<number>>();
    for (const [name, subject] of subjects) {
      bytes.set(name, subject.weightBytes + cacheBytesRead(models.get(name)!, step));
      runs.set(name, () => subject.measure());
    }
    for (const [name, all] of limits ? bytes : []) {
      runs.set(`read ${name}`, async () => (await readRate(Math.ceil(all))) / 1e9);
    }
    const found = await alternate(alternations, runs);
    return new Map(
      [...subjects].map(([name, { weightBytes }]) => [
        name,
        {
          milliseconds: found.get(name) ?? [],
          readRates: found.get(`read ${name}`) ?? [],
          weightBytes: weightBytes / 1e9,
          bytes: (bytes.get(name) ?? NaN) / 1e9,
        },
      ]),
    );
  } finally {
    for (const subject of subjects.values()) await subject[Symbol.asyncDispose]();
  }
}

/** The cache that engines give a model unless told otherwise. */
export function defaultCacheDtype(dtype: ComputeDtype): ComputeDtype {
  return dtype === 'int8' ? 'bfloat16' : dtype;
}

/** Bytes of K and V that all rows of a step read: the source's, and the text's on average. */
export function cacheBytesRead(
  { config, dtype }: Pick<Model, 'config' | 'dtype'>,
  { batch, sourceTokens, newTokens }: StepCase,
): number {
  const tokens = { 'decoder.self': (newTokens + 1) / 2, 'decoder.cross': sourceTokens } as const;
  let elements = 0;
  for (let layer = 0; layer < config.num_decoder_layers; ++layer) {
    for (const module of ['decoder.self', 'decoder.cross'] as const) {
      elements += 2 * tokens[module] * kvHeadsOf(config, module, layer) * config.d_kv;
    }
  }
  return batch * elements * ELEMENT_BYTES[defaultCacheDtype(dtype)];
}
