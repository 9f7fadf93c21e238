/** Texts for many sources at once. */
import type { Engine, GenerationOptions } from '../index.ts';
import { mapConcurrently } from './concurrency.ts';

export interface GenerateTextsOptions {
  /** Of every request; one sequence each. */
  readonly generation: GenerationOptions;
  readonly signal?: AbortSignal;
  /** Called after each request with the counts of requests and tokens done. */
  readonly onDone?: (requests: number, tokens: number) => void;
}

export interface GeneratedTexts {
  /** In the order of the sources. */
  readonly texts: string[];
  /** Generated tokens, end tokens included. */
  readonly tokens: number;
  /** Wall time. */
  readonly milliseconds: number;
}

/** Enough that an engine always has some waiting, and less than its limit. */
export const MAX_UNFINISHED_REQUESTS = 1024;

/**
 * Generates one text per source, as many at a time as the engine allows. The engine needs a
 * tokenizer.
 * @throws WgqaError what the first failing request failed with
 */
export async function generateTexts(
  engine: Engine,
  sources: readonly Int32Array[],
  { generation, signal, onDone }: GenerateTextsOptions,
): Promise<GeneratedTexts> {
  const started = performance.now();
  let requests = 0;
  let tokens = 0;
  const generate = async (inputIds: Int32Array): Promise<string> => {
    const request = { ...generation, inputIds };
    const result = await engine.generate(request, signal ? { signal } : {});
    requests += 1;
    tokens += result.generatedTokens;
    onDone?.(requests, tokens);
    return result.sequences[0]?.text ?? '';
  };
  const texts = await mapConcurrently(sources, MAX_UNFINISHED_REQUESTS, generate);
  return { texts, tokens, milliseconds: performance.now() - started };
}
