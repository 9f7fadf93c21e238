import { Tokenizer as HuggingFaceTokenizer } from '@huggingface/tokenizers';
import { invalidArgument, WgqaError } from '../errors.ts';
import { chooseTokenizer, resolveFiles, type ResolveModelOptions } from '../hub/index.ts';
import { isObject, malformed, readTokenizerFiles, type TokenizerFiles } from './files.ts';
import { TextStream } from './text-stream.ts';
import { makeTokenPieces, type TokenPieces } from './token-pieces.ts';
import { encodesWordByWord, WordEncoder } from './words.ts';

export interface EncodeOptions {
  /** Whether to add what the tokenizer's template adds (T5: the end token). Default true. */
  readonly addSpecialTokens?: boolean;
}

export interface DecodeOptions {
  /** Whether to leave out special tokens such as padding and the end token. Default true. */
  readonly skipSpecialTokens?: boolean;
}

// A text of this length takes seconds and hundreds of megabytes: beyond it, it is no prompt.
const MAX_TEXT_CHARACTERS = 1_000_000;

/**
 * Text to token ids and back, as a Hugging Face `tokenizer.json` describes it. Made by
 * {@link loadTokenizer}.
 */
export class Tokenizer {
  /** One more than the largest token id. A model's embedding may have more rows. */
  readonly vocabSize: number;
  readonly padTokenId: number | undefined;
  readonly eosTokenId: number | undefined;
  readonly unkTokenId: number | undefined;
  readonly #tokenizer: HuggingFaceTokenizer;
  readonly #tokens: ReadonlyMap<number, string>;
  readonly #specialIds: ReadonlySet<number>;
  readonly #addedTokens: ReadonlySet<string>;
  readonly #decoder: unknown;
  #pieces: TokenPieces | undefined;
  /** Absent where words cannot be encoded one by one. */
  readonly #words: WordEncoder | undefined;

  /** @throws WgqaError `INVALID_FILE` where the files cannot be interpreted. */
  constructor(files: TokenizerFiles) {
    try {
      this.#tokenizer = new HuggingFaceTokenizer(files.tokenizer, files.config);
      // Parts that are missing or of unknown type show only when they are used.
      const trial = this.#tokenizer.encode('a b', { add_special_tokens: true });
      this.#tokenizer.decode(trial.ids, {});
    } catch (cause) {
      throw malformed('tokenizer.json', `cannot be interpreted: ${String(cause)}`, cause);
    }
    const vocabulary = this.#tokenizer.get_vocab(true);
    this.#tokens = new Map([...vocabulary].map(([token, id]) => [id, token]));
    this.vocabSize = [...this.#tokens.keys()].reduce((size, id) => Math.max(size, id + 1), 0);
    const added = [...this.#tokenizer.get_added_tokens_decoder().values()];
    this.#specialIds = new Set(added.filter((token) => token.special).map((token) => token.id));
    this.#addedTokens = new Set(added.map((token) => token.content));
    this.#decoder = files.tokenizer['decoder'];
    if (encodesWordByWord(files.tokenizer)) {
      this.#words = new WordEncoder((text) => this.#encodeWhole(text, false));
    }
    const find = (key: string, usual: string) =>
      this.#tokenizer.token_to_id(namedToken(files.config[key]) ?? usual);
    this.padTokenId = find('pad_token', '<pad>');
    this.eosTokenId = find('eos_token', '</s>');
    this.unkTokenId = find('unk_token', '<unk>');
  }

  /**
   * The text's token ids, with the end token where the tokenizer's template has one.
   *
   * @throws WgqaError `INVALID_ARGUMENT` when `text` is no string or has over a million characters.
   */
  encode(text: string, { addSpecialTokens = true }: EncodeOptions = {}): Int32Array {
    if (typeof text !== 'string') throw invalidArgument('text', 'a string', text);
    if (text.length > MAX_TEXT_CHARACTERS) {
      const length = `${String(text.length)} characters`;
      throw new WgqaError('INVALID_ARGUMENT', `text has ${length}`, {
        field: 'text',
        allowed: `at most ${String(MAX_TEXT_CHARACTERS)} characters`,
      });
    }
    if (this.#words === undefined)
      return Int32Array.from(this.#encodeWhole(text, addSpecialTokens));
    const ids = this.#words.encode(text);
    // Where words go one by one, the template's tokens all stand behind the text.
    if (addSpecialTokens) ids.push(...this.#encodeWhole('', true));
    return Int32Array.from(ids);
  }

  /** {@link encode} of each text. */
  encodeBatch(texts: readonly string[], options: EncodeOptions = {}): Int32Array[] {
    return texts.map((text) => this.encode(text, options));
  }

  /**
   * The text of token ids. It is what the pieces spell: spaces before punctuation are never
   * cleaned up. Ids from `vocabSize` on, which a model with spare embedding rows may produce,
   * have no text.
   *
   * @throws WgqaError `INVALID_ARGUMENT` when an id is no non-negative integer.
   */
  decode(ids: Iterable<number>, { skipSpecialTokens = true }: DecodeOptions = {}): string {
    return this.#decodeIds(this.#keepIds(ids, skipSpecialTokens));
  }

  /** A stream that returns text while tokens arrive. */
  createTextStream({ skipSpecialTokens = true }: DecodeOptions = {}): TextStream {
    return new TextStream({
      decodeIds: (ids) => this.#decodeIds(ids),
      keepIds: (ids) => this.#keepIds(ids, skipSpecialTokens),
    });
  }

  /** The piece of a token id ("▁the"), or undefined where the id has none. */
  tokenOf(id: number): string | undefined {
    return this.#tokens.get(id);
  }

  /** The id of a piece, or undefined where the vocabulary lacks it. */
  idOf(token: string): number | undefined {
    return this.#tokenizer.token_to_id(token);
  }

  /**
   * What each token adds to a text; made on first use.
   * @throws WgqaError `UNSUPPORTED` where a token's text depends on those around it.
   */
  tokenPieces(): TokenPieces {
    this.#pieces ??= makeTokenPieces(this.#decoder, {
      size: this.vocabSize,
      pieceOf: (id) => (this.#specialIds.has(id) ? undefined : this.#tokens.get(id)),
      isAdded: (piece) => this.#addedTokens.has(piece),
    });
    return this.#pieces;
  }

  #encodeWhole(text: string, addSpecialTokens: boolean): number[] {
    return this.#tokenizer.encode(text, { add_special_tokens: addSpecialTokens }).ids;
  }

  #decodeIds(ids: readonly number[]): string {
    if (ids.length === 0) return '';
    return this.#tokenizer.decode([...ids], { clean_up_tokenization_spaces: false });
  }

  #keepIds(ids: Iterable<number>, skipSpecialTokens: boolean): number[] {
    const kept: number[] = [];
    for (const id of ids) {
      if (!Number.isInteger(id) || id < 0)
        throw invalidArgument('ids', 'non-negative integers', id);
      if (!this.#tokens.has(id)) continue;
      if (!skipSpecialTokens || !this.#specialIds.has(id)) kept.push(id);
    }
    return kept;
  }
}

/**
 * Loads the tokenizer of a Hugging Face model directory, or of `org/name[@revision]` of the hub, from `tokenizer.json` and, where there is
 * one, `tokenizer_config.json`.
 *
 * @throws WgqaError `NOT_FOUND` without tokenizer.json, `INVALID_FILE` or `UNSUPPORTED` where its
 *   content cannot be used (`field` names the key), `IO` where it cannot be read.
 */
export async function loadTokenizer(
  directory: string,
  options: Omit<ResolveModelOptions, 'onProgress'> = {},
): Promise<Tokenizer> {
  if (typeof directory !== 'string' || directory === '') {
    throw invalidArgument('directory', 'the path of a model directory', directory);
  }
  directory = await resolveFiles(directory, options, chooseTokenizer);
  return new Tokenizer(await readTokenizerFiles(directory));
}

/** `"</s>"` of `"</s>"` or `{"content": "</s>", ...}`, the two ways a token is written. */
function namedToken(value: unknown): string | undefined {
  const content = isObject(value) ? value['content'] : value;
  return typeof content === 'string' ? content : undefined;
}
