import { invalidArgument, WgqaError } from '../errors.ts';
import { chooseTokenizer, resolveFiles, type ResolveModelOptions } from '../hub/index.ts';
import { malformed } from './description/index.ts';
import { booleanRule, checkOptions, type Rules } from '../options.ts';
import { decoderKind, type DecoderKind } from './decoders.ts';
import { loadLibrary, type Decoder, type Library } from './library.ts';
import type { EncodeRequest, LoadedTokenizer } from './protocol.ts';
import { hasTokenizer } from './sources/files.ts';
import { TextStream } from './text-stream.ts';
import { TokenizerThread } from './thread.ts';
import { makeTokenPieces, type TokenPieces } from './token-pieces.ts';

export interface EncodeOptions {
  /** Whether to add what the tokenizer's template adds (T5: the end token). Default true. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Whether to leave out special tokens such as padding and the end token. Default true. */
  readonly skipSpecialTokens?: boolean;
}

const ENCODE_RULES = { addSpecialTokens: booleanRule } satisfies Rules;
const DECODE_RULES = { skipSpecialTokens: booleanRule } satisfies Rules;

/** In UTF-16 units. A text of this length takes seconds: beyond it, it is no prompt. */
export const MAX_TEXT_CHARACTERS = 1_000_000;

/** Text has some four characters a token; white space, which runs of count as one, may have more. */
const MOST_CHARACTERS_PER_TOKEN = 32;

/**
 * Text to token ids and back, by Hugging Face's library `tokenizers`. Made by {@link loadTokenizer}.
 */
export class Tokenizer {
  /** One more than the largest token id. A model's embedding may have more rows. */
  readonly vocabSize: number;
  readonly padTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly #thread: TokenizerThread;
  readonly #handle: number;
  readonly #loaded: LoadedTokenizer;
  readonly #specialIds: ReadonlySet<number>;
  readonly #decoder: Decoder | null;
  readonly #decoderKind: DecoderKind;
  #pieces: TokenPieces | undefined;
  #idOf: ReadonlyMap<string, number> | undefined;

  /** @internal */
  constructor(thread: TokenizerThread, loaded: LoadedTokenizer, library: Library) {
    this.#thread = thread;
    this.#handle = loaded.handle;
    this.#loaded = loaded;
    this.#specialIds = new Set(loaded.specialIds);
    this.#decoder = makeDecoder(library, loaded.decoder);
    this.#decoderKind = decoderKind(loaded.decoder);
    this.vocabSize = loaded.tokens.length;
    this.padTokenId = loaded.padTokenId;
    this.eosTokenId = loaded.eosTokenId;
    this.unkTokenId = loaded.unkTokenId;
    thread.keepFor(this, loaded.handle);
  }

  /**
   * The text's token ids, with the end token where the tokenizer's template has one. Nothing else runs
   * in this thread meanwhile, seconds for a million characters: see {@link encodeAsync}.
   *
   * @throws WgqaError `INVALID_ARGUMENT` when `text` is no string or has over a million characters,
   *   `INVALID_FILE` where the tokenizer has no token for a text.
   */
  encode(text: string, options: EncodeOptions = {}): Int32Array {
    return this.encodeBatch([text], options)[0]!;
  }

  /** {@link encode} of each text. */
  encodeBatch(texts: readonly string[], options: EncodeOptions = {}): Int32Array[] {
    const request = this.#request(texts, options);
    return request.texts.length === 0 ? [] : this.#thread.askNow<'encode'>(request);
  }

  /** {@link encode} in another thread. */
  async encodeAsync(text: string, options: EncodeOptions = {}): Promise<Int32Array> {
    return (await this.encodeBatchAsync([text], options))[0]!;
  }

  /** {@link encodeAsync} of each text. */
  async encodeBatchAsync(
    texts: readonly string[],
    options: EncodeOptions = {},
  ): Promise<Int32Array[]> {
    const request = this.#request(texts, options);
    return request.texts.length === 0 ? [] : this.#thread.ask<'encode'>(request);
  }

  /**
   * The longest text, in UTF-16 units, that may have no more than so many tokens: a bound to check
   * before encoding. It is generous: only texts that are almost all white space lie beyond it and
   * have fewer.
   */
  maxCharacters(tokens: number): number {
    return Math.min(MAX_TEXT_CHARACTERS, MOST_CHARACTERS_PER_TOKEN * (tokens + 1));
  }

  /**
   * The text of token ids. It is what the pieces spell: spaces before punctuation are never
   * cleaned up. Ids from `vocabSize` on, which a model with spare embedding rows may produce,
   * have no text.
   *
   * @throws WgqaError `INVALID_ARGUMENT` when an id is no non-negative integer.
   */
  decode(ids: Iterable<number>, options: DecodeOptions = {}): string {
    const { skipSpecialTokens = true } = checkOptions(options, DECODE_RULES);
    return this.#decodeIds(this.#keepIds(ids, skipSpecialTokens));
  }

  /** A stream that returns text while tokens arrive. */
  createTextStream(options: DecodeOptions = {}): TextStream {
    const { skipSpecialTokens = true } = checkOptions(options, DECODE_RULES);
    return new TextStream({
      kind: this.#decoderKind,
      decodeIds: (ids) => this.#decodeIds(ids),
      keepIds: (ids) => this.#keepIds(ids, skipSpecialTokens),
      tokenOf: (id) => this.#decodedToken(id),
    });
  }

  /** The piece of a token id ("▁the"), or undefined where the id has none. */
  tokenOf(id: number): string | undefined {
    return this.#loaded.tokens[id];
  }

  /** The id of a piece, or undefined where the vocabulary lacks it. */
  idOf(token: string): number | undefined {
    this.#idOf ??= idsOf(this.#loaded);
    return this.#idOf.get(token);
  }

  /**
   * What each token adds to a text; made on first use.
   * @throws WgqaError `UNSUPPORTED` where a token's text depends on those around it.
   */
  tokenPieces(): TokenPieces {
    this.#pieces ??= makeTokenPieces(this.#loaded.decoder, {
      size: this.vocabSize,
      pieceOf: (id) => (this.#specialIds.has(id) ? undefined : this.#decodedToken(id)),
    });
    return this.#pieces;
  }

  #request(texts: readonly string[], options: EncodeOptions): EncodeRequest {
    const isList: boolean = Array.isArray(texts);
    if (!isList) throw invalidArgument('texts', 'an array of strings', texts);
    const { addSpecialTokens = true } = checkOptions(options, ENCODE_RULES);
    const copy = [...texts];
    copy.forEach(checkText);
    return { kind: 'encode', handle: this.#handle, texts: copy, addSpecialTokens };
  }

  #decodeIds(ids: readonly number[]): string {
    return this.#decodeTokens(ids.map((id) => this.#decodedToken(id) ?? ''));
  }

  #decodeTokens(tokens: string[]): string {
    if (tokens.length === 0) return '';
    return this.#decoder === null ? tokens.join(' ') : this.#decoder.decode(tokens);
  }

  /** What decoders get for a token. */
  #decodedToken(id: number): string | undefined {
    return this.#loaded.decodedTokens.get(id) ?? this.#loaded.tokens[id];
  }

  #keepIds(ids: Iterable<number>, skipSpecialTokens: boolean): number[] {
    const kept: number[] = [];
    if (!isIterable(ids)) throw invalidArgument('ids', 'token ids', ids);
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0)
        throw invalidArgument('ids', 'non-negative integers', id);
      if (this.#loaded.tokens[id] === undefined) continue;
      if (!skipSpecialTokens || !this.#specialIds.has(id)) kept.push(id);
    }
    return kept;
  }
}

function isIterable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Symbol.iterator in value;
}

function checkText(text: unknown): void {
  if (typeof text !== 'string') throw invalidArgument('text', 'a string', text);
  if (text.length <= MAX_TEXT_CHARACTERS) return;
  throw new WgqaError('INVALID_ARGUMENT', `text has ${text.length} characters`, {
    field: 'text',
    allowed: `at most ${MAX_TEXT_CHARACTERS} characters`,
  });
}

/** Decoding needs no vocabulary, and is short: it stays in the thread of the caller. */
function makeDecoder(library: Library, decoder: LoadedTokenizer['decoder']): Decoder | null {
  const model = { type: 'BPE', vocab: {}, merges: [] };
  try {
    return library.Tokenizer.fromString(JSON.stringify({ decoder, model })).getDecoder();
  } catch (cause) {
    throw malformed('tokenizer.json: decoder', `cannot be interpreted: ${String(cause)}`, cause);
  }
}

/** Of a piece that stands twice, the last; added tokens before those of the model. */
function idsOf({ tokens, addedIds }: LoadedTokenizer): ReadonlyMap<string, number> {
  const ids = new Map<string, number>();
  tokens.forEach((token, id) => {
    if (token !== undefined) ids.set(token, id);
  });
  for (const id of addedIds) ids.set(tokens[id] ?? '', id);
  return ids;
}

/**
 * Loads the tokenizer of a Hugging Face model directory, or of `org/name[@revision]` of the hub: from
 * `tokenizer.json`, or from a lone `spiece.model` or `tokenizer.model` of SentencePiece, or of ByT5
 * from nothing but a `tokenizer_config.json` that names it. Tokens that `tokenizer_config.json`,
 * `special_tokens_map.json` and `added_tokens.json` name count as Transformers counts them.
 *
 * @throws WgqaError `NOT_FOUND` without any of these, `INVALID_FILE` or `UNSUPPORTED` where the
 *   content cannot be used (`field` names the key), `IO` where a file cannot be read,
 *   `NATIVE_UNAVAILABLE` where the library has no build for the platform.
 */
export async function loadTokenizer(
  directory: string,
  options: Omit<ResolveModelOptions, 'onProgress'> = {},
): Promise<Tokenizer> {
  if (typeof directory !== 'string' || directory === '' || directory.includes('\0')) {
    throw invalidArgument('directory', 'the path of a model directory', directory);
  }
  directory = await resolveFiles(directory, options, chooseTokenizer);
  const library = await loadLibrary();
  const thread = TokenizerThread.get();
  return new Tokenizer(thread, await thread.ask<'load'>({ kind: 'load', directory }), library);
}

/** {@link loadTokenizer}, or undefined where a directory has no tokenizer at all. */
export async function findTokenizer(directory: string): Promise<Tokenizer | undefined> {
  return (await hasTokenizer(directory)) ? loadTokenizer(directory) : undefined;
}
