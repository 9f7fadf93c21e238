/** From what a caller asks to what native code decodes: token ids, resolved options, limits. */
import { readGenerationConfig } from '../checkpoint/checkpoint.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { readTokenRow, type Model } from '../model/index.ts';
import type {
  NativeFinishEvent,
  NativeGeneratedSequence,
  NativeGenerationOptions,
} from '../native.ts';
import { findTokenizer, type Tokenizer } from '../tokenizer/index.ts';
import {
  parseGenerationDefaults,
  resolveRequest,
  type CheckedRequest,
  type GenerationDefaults,
  type Limits,
} from './options.ts';
import type { LogitsProcessor } from './types.ts';

/** Options of a request, none left open. */
export type ResolvedOptions = NativeGenerationOptions;

/** A sequence as it was decoded: not cut at stop strings yet. */
export type FinishedSequence = NativeGeneratedSequence;

/** What a request ended with. */
export type FinishedRequest = Omit<NativeFinishEvent, 'request' | 'error'>;

/** What of a model requests are read with. */
export type ModelSource = Pick<Model, 'config' | 'directory'>;

/** A request with everything resolved. */
export interface DecodeTask {
  readonly inputIds: Int32Array;
  /** Token ids that every sequence begins with. */
  readonly forcedPrefix: Int32Array;
  readonly options: ResolvedOptions;
  readonly stops: readonly string[];
  /** Present if the engine has one; always with stop strings. */
  readonly tokenizer: Tokenizer | undefined;
  /** Milliseconds, 0 for none. */
  readonly timeout: number;
  readonly processors: readonly LogitsProcessor[];
}

export class RequestReader {
  readonly #model: ModelSource;
  readonly #limits: Limits;
  #tokenizer: Promise<Tokenizer | undefined> | undefined;
  #defaults: Promise<GenerationDefaults> | undefined;

  constructor(model: ModelSource, limits: Limits, tokenizer: Tokenizer | undefined) {
    this.#model = model;
    this.#limits = limits;
    if (tokenizer !== undefined) this.#tokenizer = Promise.resolve(tokenizer);
  }

  /** @throws WgqaError INVALID_ARGUMENT, and what loading a tokenizer or defaults throws */
  async read(request: CheckedRequest): Promise<DecodeTask> {
    this.#tokenizer ??= tokenizerOf(this.#model.directory);
    this.#defaults ??= findDefaults(this.#model);
    const [tokenizer, defaults] = await Promise.all([this.#tokenizer, this.#defaults]);
    const { config } = this.#model;
    const options = resolveRequest(request, defaults, config);
    checkLimit('maxNewTokens', options.maxNewTokens, this.#limits.newTokens, '');
    const stops = request.stop === undefined ? [] : [request.stop].flat();
    if (stops.length > 0 && tokenizer === undefined) throw needsTokenizer('stop');
    return {
      inputIds: await this.#readSource(request, tokenizer),
      forcedPrefix: await this.#readPrefix(request, tokenizer),
      options,
      stops,
      tokenizer,
      timeout: this.#timeoutOf(request),
      processors: request.logitsProcessors ?? [],
    };
  }

  async #readSource(
    request: CheckedRequest,
    tokenizer: Tokenizer | undefined,
  ): Promise<Int32Array> {
    const { prompt, inputIds } = request;
    if ((prompt === undefined) === (inputIds === undefined)) {
      throw invalidArgument('prompt', 'given, or inputIds, but not both', prompt);
    }
    const vocab = this.#model.config.vocab_size;
    const limit = this.#limits.inputTokens;
    const source =
      prompt === undefined
        ? readTokenRow(inputIds, 'inputIds', vocab)
        : readTokenRow(await encode('prompt', prompt, tokenizer, limit), 'prompt', vocab);
    const field = prompt === undefined ? 'inputIds' : 'prompt';
    checkLimit(field, source.length, limit, ' tokens');
    return source;
  }

  async #readPrefix(
    { decoderInputIds, forcedPrefix }: CheckedRequest,
    tokenizer: Tokenizer | undefined,
  ): Promise<Int32Array> {
    const vocab = this.#model.config.vocab_size;
    if (decoderInputIds !== undefined && forcedPrefix !== undefined) {
      throw invalidArgument('forcedPrefix', 'absent where decoderInputIds are given', forcedPrefix);
    }
    if (decoderInputIds !== undefined) {
      return readTokenRow(decoderInputIds, 'decoderInputIds', vocab);
    }
    if (forcedPrefix === undefined) return new Int32Array();
    const ids = await encode('forcedPrefix', forcedPrefix, tokenizer, this.#limits.inputTokens, {
      addSpecialTokens: false,
    });
    if (ids.length === 0)
      throw invalidArgument('forcedPrefix', 'text of a token or more', forcedPrefix);
    return readTokenRow(ids, 'forcedPrefix', vocab);
  }

  #timeoutOf({ timeout }: CheckedRequest): number {
    const limit = this.#limits.timeout;
    if (timeout !== undefined) checkLimit('timeout', timeout, limit, ' milliseconds');
    const milliseconds = timeout ?? limit;
    return milliseconds === Infinity ? 0 : milliseconds;
  }
}

/** Encodes in another thread a text that may have at most `limit` tokens. */
async function encode(
  field: string,
  text: string,
  tokenizer: Tokenizer | undefined,
  limit: number,
  options: Parameters<Tokenizer['encode']>[1] = {},
): Promise<Int32Array> {
  if (tokenizer === undefined) throw needsTokenizer(field);
  checkLimit(field, text.length, tokenizer.maxCharacters(limit), ' characters');
  return tokenizer.encodeAsync(text, options);
}

function checkLimit(field: string, actual: number, limit: number, unit: string): void {
  if (actual <= limit) return;
  const allowed = `at most ${String(limit)}${unit}, the limit of the engine`;
  throw invalidArgument(field, allowed, actual);
}

/** The tokenizer of the model's directory, if it has one. */
async function tokenizerOf(directory: string | undefined): Promise<Tokenizer | undefined> {
  return directory === undefined ? undefined : findTokenizer(directory);
}

async function findDefaults({ config, directory }: ModelSource): Promise<GenerationDefaults> {
  const json = directory === undefined ? undefined : await readGenerationConfig(directory);
  if (json !== undefined) return parseGenerationDefaults(json, 'generation_config.json');
  return parseGenerationDefaults(config, 'config.json');
}

function needsTokenizer(field: string): WgqaError {
  const allowed = 'absent: the engine has no tokenizer, and neither has the directory of its model';
  return new WgqaError('INVALID_ARGUMENT', `${field} must be ${allowed}`, { field, allowed });
}

/** @throws WgqaError INVALID_ARGUMENT: beams change what came before */
export function checkStreamable({ options: { numBeams } }: DecodeTask): void {
  if (numBeams > 1) throw invalidArgument('numBeams', '1 for a stream', numBeams);
}
