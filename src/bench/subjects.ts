/** What takes turns: a decoding step of one model, or its encoding of a source. */
import type { Engine, Model } from '../index.ts';
import { BatchDecoder } from './batch-decoder.ts';
import { sourcesOf } from './sources.ts';

export interface StepCase {
  readonly batch: number;
  readonly sourceTokens: number;
  readonly newTokens: number;
}

export interface EncodingCase {
  readonly sequences: number;
  readonly tokens: number;
}

/** Can be measured as often as one likes. */
export interface Subject extends AsyncDisposable {
  /** Milliseconds of a step, or of an encoding. */
  measure(): Promise<number>;
}

export interface StepSubject extends Subject {
  /** Of the last measurement. */
  readonly weightBytes: number;
}

/** Encodes the sources, and decodes once to warm up. @param engineClass of the model's package */
export async function stepSubject(
  model: Model,
  { batch, sourceTokens, newTokens }: StepCase,
  engineClass?: typeof Engine,
): Promise<StepSubject> {
  const sources = sourcesOf(model.config.vocab_size, batch, sourceTokens);
  const options = { mostRows: batch, newTokens, ...(engineClass && { engineClass }) };
  const decoder = new BatchDecoder(model, sources, options);
  const dispose = (): Promise<void> => decoder[Symbol.asyncDispose]();
  let weightBytes = 0;
  const measure = async (): Promise<number> => {
    const decoded = await decoder.decode({ numBeams: 1, newTokens });
    weightBytes = decoded.weightBytesPerStep;
    return decoded.stepMilliseconds;
  };
  try {
    await decoder.encode();
    await measure();
  } catch (error) {
    await dispose();
    throw error;
  }
  return {
    measure,
    get weightBytes() {
      return weightBytes;
    },
    [Symbol.asyncDispose]: dispose,
  };
}

/** Each time other sources, since an engine encodes none twice; the first warms up. */
export async function encodingSubject(
  model: Model,
  { sequences, tokens }: EncodingCase,
  engineClass?: typeof Engine,
): Promise<Subject> {
  let seed = 0;
  const measure = async (): Promise<number> => {
    const { vocab_size: vocabSize } = model.config;
    const sources = sourcesOf(vocabSize, sequences, tokens, (seed += sequences));
    const options = { mostRows: sequences, newTokens: 1, ...(engineClass && { engineClass }) };
    await using decoder = new BatchDecoder(model, sources, options);
    return (await decoder.encode()).encodeMilliseconds;
  };
  await measure();
  return { measure, [Symbol.asyncDispose]: () => Promise.resolve() };
}
