/** Hugging Face's tokenizers, loaded when first needed: it is native code, and not for every platform. */
import { WgqaError } from '../errors.ts';

/** What is used of the package; its own declarations do not compile where libraries are checked. */
export interface Library {
  readonly Tokenizer: { fromString(json: string): LibraryTokenizer };
}

export interface LibraryTokenizer {
  encode(
    text: string,
    pair: null,
    options: { readonly addSpecialTokens: boolean },
  ): Promise<{ getIds(): number[] }>;
  getNormalizer(): { normalizeString(text: string): string } | null;
  getDecoder(): Decoder | null;
}

export interface Decoder {
  decode(tokens: string[]): string;
}

/** Not a literal in the import: bundlers would look for files of every platform. */
const PACKAGE = 'tokenizers';

/** @throws WgqaError `NATIVE_UNAVAILABLE` where it has no build for this platform */
export async function loadLibrary(): Promise<Library> {
  try {
    return (await import(PACKAGE)) as Library;
  } catch (cause) {
    const platform = `${process.platform}-${process.arch}`;
    const message = `the package tokenizers cannot be loaded on ${platform}: ${String(cause)}`;
    throw new WgqaError('NATIVE_UNAVAILABLE', message, { field: 'tokenizers', cause });
  }
}
