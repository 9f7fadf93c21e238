/** From what a caller asks to what native code decodes: token ids, resolved options, limits. */
import { access } from 'node:fs/promises';
import path from 'node:path';
import { readGenerationConfig } from '../checkpoint/checkpoint.ts';
import { invalidArgument, WgqaError } from '../errors.ts';
import { readTokenRow, type Model } from '../model/index.ts';
import type {
  NativeFinishEvent,
  NativeGeneratedSequence,
  NativeGenerationOptions,
} from '../native.ts';
import { loadTokenizer, type Tokenizer } from '../tokenizer/index.ts';
import {
  parseGenerationDefaults,
  warnOfKeys,
  warnOfKnownKeys,
  type GenerationDefaults,
} from './generation-defaults.ts';
import type { Limits } from './options.ts';
import { resolveRequest, startTokenOf, type CheckedRequest } from './request-options.ts';
import { readSource, type Source } from './source.ts';
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
  readonly source: Source;
  /** Token ids that every sequence begins with, after the start token. */
  readonly forcedPrefix: Int32Array;
  readonly options: ResolvedOptions;
  readonly stops: readonly string[];
  readonly skipSpecialTokens: boolean;
  /** Present if the engine has one; always with stop strings. */
  readonly tokenizer: Tokenizer | undefined;
  /** Milliseconds, 0 for none. */
  readonly timeout: number;
  readonly processors: readonly LogitsProcessor[];
}

/** A text of more characters per token has more tokens than a limit, or is next to nothing. */
const MAX_TOKEN_CHARACTERS = 32;

export class RequestReader {
  readonly #model: ModelSource;
  readonly #limits: Limits;
  #tokenizer: Promise<FoundTokenizer> | undefined;
  #defaults: Promise<GenerationDefaults> | undefined;
  #hasWarned = false;

  constructor(model: ModelSource, limits: Limits, tokenizer: Tokenizer | undefined) {
    this.#model = model;
    this.#limits = limits;
    if (tokenizer !== undefined) this.#tokenizer = Promise.resolve({ tokenizer });
  }

  /** @throws WgqaError INVALID_ARGUMENT, TIMEOUT, and what loading a tokenizer or defaults throws */
  async read(request: CheckedRequest): Promise<DecodeTask> {
    const began = performance.now();
    const timeout = this.#timeoutOf(request);
    this.#tokenizer ??= findTokenizer(this.#model.directory);
    this.#defaults ??= findDefaults(this.#model);
    const [found, defaults] = await Promise.all([this.#tokenizer, this.#defaults]);
    const { config } = this.#model;
    const forcedPrefix = await this.#readPrefix(request, found, startTokenOf(defaults, config));
    const options = resolveRequest(request, defaults, {
      config,
      promptTokens: 1 + forcedPrefix.length,
      newTokens: this.#limits.newTokens,
    });
    checkLimit('maxNewTokens', options.maxNewTokens, this.#limits.newTokens, '');
    checkSequences(options, this.#limits.sequences, request);
    return {
      source: await this.#readSource(request, found, options),
      forcedPrefix,
      options,
      stops: readStops(request, found, defaults),
      skipSpecialTokens: request.skipSpecialTokens ?? true,
      tokenizer: found.tokenizer,
      timeout: timeLeft(timeout, began),
      processors: request.logitsProcessors ?? [],
    };
  }

  /** As read(), for a stream, which has no beams: those of the checkpoint are left out. */
  async readForStream(request: CheckedRequest): Promise<DecodeTask> {
    this.#defaults ??= findDefaults(this.#model);
    const defaults = await this.#defaults;
    if (request.numBeams === undefined && (defaults.options.numBeams ?? 1) > 1) {
      defaults.warn('num_beams', 'is not applied to streams: beams change what came before');
    }
    const task = await this.read({ ...request, numBeams: request.numBeams ?? 1 });
    const { numBeams } = task.options;
    if (numBeams > 1) throw invalidArgument('numBeams', '1 for a stream', numBeams);
    return task;
  }

  async #readSource(
    request: CheckedRequest,
    found: FoundTokenizer,
    options: ResolvedOptions,
  ): Promise<Source> {
    const { prompt, inputIds, attentionMask } = request;
    if ((prompt === undefined) === (inputIds === undefined)) {
      throw invalidArgument('prompt', 'given, or inputIds, but not both', prompt);
    }
    const vocab = this.#model.config.vocab_size;
    if (prompt === undefined) {
      const source = readSource(inputIds, attentionMask, options, vocab);
      checkLimit('inputIds', source.inputIds.length, this.#limits.inputTokens, ' tokens');
      if (source.hasInnerPadding) this.#warnOfInnerPadding();
      return source;
    }
    if (attentionMask !== undefined) {
      throw invalidArgument('attentionMask', 'absent beside a prompt', attentionMask);
    }
    const encoded = await this.#encode('prompt', prompt, found);
    return { inputIds: readTokenRow(encoded, 'prompt', vocab), hasInnerPadding: false };
  }

  async #readPrefix(
    request: CheckedRequest,
    found: FoundTokenizer,
    startToken: number,
  ): Promise<Int32Array> {
    const { decoderInputIds, forcedPrefix } = request;
    if (decoderInputIds !== undefined && forcedPrefix !== undefined) {
      throw invalidArgument('forcedPrefix', 'absent where decoderInputIds are given', forcedPrefix);
    }
    const vocab = this.#model.config.vocab_size;
    const withoutStart = (ids: Int32Array): Int32Array =>
      ids[0] === startToken ? ids.subarray(1) : ids;
    if (decoderInputIds !== undefined) {
      return withoutStart(readTokenRow(decoderInputIds, 'decoderInputIds', vocab));
    }
    if (forcedPrefix === undefined) return new Int32Array();
    const ids = await this.#encode('forcedPrefix', forcedPrefix, found, {
      addSpecialTokens: false,
    });
    if (ids.length === 0) {
      throw invalidArgument('forcedPrefix', 'text of a token or more', forcedPrefix);
    }
    return withoutStart(readTokenRow(ids, 'forcedPrefix', vocab));
  }

  /** A text's token ids; long ones are refused before work on them begins. */
  async #encode(
    field: string,
    text: string,
    found: FoundTokenizer,
    options: Parameters<Tokenizer['encode']>[1] = {},
  ): Promise<Int32Array> {
    const { tokenizer } = found;
    if (tokenizer === undefined) throw needsTokenizer(field, found);
    const { inputTokens } = this.#limits;
    checkLimit(field, text.length, MAX_TOKEN_CHARACTERS * inputTokens, ' characters');
    const ids = await Promise.resolve(tokenizer.encode(text, options));
    checkLimit(field, ids.length, inputTokens, ' tokens');
    return ids;
  }

  #warnOfInnerPadding(): void {
    if (this.#hasWarned) return;
    this.#hasWarned = true;
    const message =
      'inputIds hold pad tokens between others, which are read like others; ' +
      'an attentionMask of 1 says that they should be';
    process.emitWarning(message, 'WgqaWarning');
  }

  /** Milliseconds, Infinity for none. */
  #timeoutOf({ timeout }: CheckedRequest): number {
    const limit = this.#limits.timeout;
    if (timeout !== undefined) checkLimit('timeout', timeout, limit, ' milliseconds');
    return timeout ?? limit;
  }
}

/** What is left of a timeout; 0 stands for none. */
function timeLeft(timeout: number, began: number): number {
  if (timeout === Infinity) return 0;
  const left = timeout - (performance.now() - began);
  if (left > 0) return left;
  throw new WgqaError('TIMEOUT', 'the request was not done within its timeout', {
    field: 'timeout',
  });
}

/** Strings of the checkpoint need a tokenizer, which the request may do without. */
function readStops(
  { stop }: CheckedRequest,
  found: FoundTokenizer,
  defaults: GenerationDefaults,
): readonly string[] {
  if (stop !== undefined) {
    if (found.tokenizer === undefined) throw needsTokenizer('stop', found);
    return [stop].flat();
  }
  if (defaults.stop === undefined) return [];
  if (found.tokenizer !== undefined) return [defaults.stop].flat();
  defaults.warn('stop_strings', 'is not applied: the engine has no tokenizer');
  return [];
}

function checkSequences(options: ResolvedOptions, most: number, request: CheckedRequest): void {
  const field = options.numBeams > 1 ? 'numBeams' : 'numReturnSequences';
  const sequences = options[field];
  if (sequences <= most) return;
  const key = field === 'numBeams' ? 'num_beams' : 'num_return_sequences';
  const origin = request[field] === undefined ? ` (${key} of generation_config.json)` : '';
  const allowed = `at most ${most} sequences of a request, the engine's limit${origin}`;
  throw invalidArgument(field, allowed, sequences);
}

function checkLimit(field: string, actual: number, limit: number, unit: string): void {
  if (actual <= limit) return;
  const allowed = `at most ${String(limit)}${unit}, the limit of the engine`;
  throw invalidArgument(field, allowed, actual);
}

/** A tokenizer, or why there is none. */
interface FoundTokenizer {
  readonly tokenizer?: Tokenizer;
  readonly reason?: string;
}

/** The tokenizer of the model's directory, if it has one. What it has must be readable. */
async function findTokenizer(directory: string | undefined): Promise<FoundTokenizer> {
  if (directory === undefined) return {};
  const isPresent = await access(path.join(directory, 'tokenizer.json')).then(
    () => true,
    () => false,
  );
  try {
    return { tokenizer: await loadTokenizer(directory) };
  } catch (error) {
    if (isPresent || !(error instanceof WgqaError)) throw error;
    return { reason: error.message };
  }
}

async function findDefaults({ config, directory }: ModelSource): Promise<GenerationDefaults> {
  const json = directory === undefined ? undefined : await readGenerationConfig(directory);
  if (json === undefined) {
    warnOfKnownKeys(config, 'config.json');
    return parseGenerationDefaults(config, 'config.json');
  }
  warnOfKeys(json, 'generation_config.json');
  return parseGenerationDefaults(json, 'generation_config.json');
}

function needsTokenizer(field: string, { reason }: FoundTokenizer): WgqaError {
  const allowed = 'absent: the engine has no tokenizer, and neither has the directory of its model';
  const message = `${field} must be ${allowed}${reason === undefined ? '' : ` (${reason})`}`;
  return new WgqaError('INVALID_ARGUMENT', message, { field, allowed });
}
