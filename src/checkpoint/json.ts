/** JSON of files we did not write: size-limited, strict UTF-8, and no key twice in an object. */
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';
import { JsonError, parseJson, type NumberSpellings } from './json-parser.ts';
import { foreignContent } from './known-formats.ts';
import { readRegularFile } from './regular-file.ts';

export type JsonObject = Record<string, unknown>;

/** A JSON object, and how its numbers were spelled. */
export interface SpelledJson {
  readonly object: JsonObject;
  readonly spellings: NumberSpellings;
}

/**
 * Parses `bytes` as one JSON object; `fromPython` allows NaN and infinities.
 * @throws WgqaError INVALID_FILE for bad UTF-8, bad JSON, a duplicate key, deep nesting, or another type
 */
export function parseJsonObject(
  bytes: Uint8Array,
  what: string,
  options: { readonly fromPython?: boolean } = {},
): SpelledJson {
  const { value, spellings } = parseText(decode(bytes, what), what, options);
  if (!isRecord(value)) {
    throw new WgqaError('INVALID_FILE', `${what} must hold a JSON object`, { field: what });
  }
  return { object: value, spellings };
}

/** Reads and parses a JSON file of at most `maxBytes`, perhaps written by Python. */
export async function readSpelledJsonFile(file: string, maxBytes: number): Promise<SpelledJson> {
  return parseJsonObject(await readRegularFile(file, maxBytes), file, { fromPython: true });
}

/** Reads and parses a JSON file of at most `maxBytes`, perhaps written by Python. */
export async function readJsonFile(file: string, maxBytes: number): Promise<JsonObject> {
  return (await readSpelledJsonFile(file, maxBytes)).object;
}

/** Like `readJsonFile`, but undefined if the file does not exist. */
export async function readOptionalJsonFile(
  file: string,
  maxBytes: number,
): Promise<JsonObject | undefined> {
  try {
    return await readJsonFile(file, maxBytes);
  } catch (error) {
    if (error instanceof WgqaError && error.code === 'NOT_FOUND') return undefined;
    throw error;
  }
}

function decode(bytes: Uint8Array, what: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    const message = `${what} is not valid JSON: it is not UTF-8`;
    throw new WgqaError('INVALID_FILE', message, { field: what, cause });
  }
}

function parseText(text: string, what: string, options: { readonly fromPython?: boolean }) {
  try {
    return parseJson(text, options);
  } catch (cause) {
    if (!(cause instanceof JsonError)) throw cause;
    const problem = foreignContent(Buffer.from(text.slice(0, 128))) ?? cause.message;
    throw new WgqaError('INVALID_FILE', `${what} ${problem}`, {
      field: cause.key ?? what,
      cause,
    });
  }
}
