/** JSON of files we did not write: size-limited, strict UTF-8, and no key twice in an object. */
import { open } from 'node:fs/promises';
import { WgqaError } from '../errors.ts';
import { isRecord } from '../options.ts';
import { readError } from './io-errors.ts';

export type JsonObject = Record<string, unknown>;

/**
 * Parses `bytes` as one JSON object.
 * @throws WgqaError INVALID_FILE for bad UTF-8, bad JSON, a duplicate key, or another type
 */
export function parseJsonObject(bytes: Uint8Array, what: string): JsonObject {
  let text: string;
  let value: unknown;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    value = JSON.parse(text);
  } catch (cause) {
    throw new WgqaError('INVALID_FILE', `${what} is not valid JSON`, { field: what, cause });
  }
  const key = duplicateKey(text);
  if (key !== undefined) {
    throw new WgqaError('INVALID_FILE', `${what} holds the key ${JSON.stringify(key)} twice`, {
      field: key,
    });
  }
  if (!isRecord(value)) {
    throw new WgqaError('INVALID_FILE', `${what} must hold a JSON object`, { field: what });
  }
  return value;
}

/** Reads and parses a JSON file of at most `maxBytes`. */
export async function readJsonFile(file: string, maxBytes: number): Promise<JsonObject> {
  try {
    const handle = await open(file, 'r');
    try {
      const { size } = await handle.stat();
      if (size > maxBytes) {
        throw new WgqaError('INVALID_FILE', `${file} has ${size} bytes, more than ${maxBytes}`, {
          field: file,
          allowed: `at most ${maxBytes} bytes`,
        });
      }
      return parseJsonObject(await handle.readFile(), file);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw readError(error, file);
  }
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

/** The first key that an object of `text`, valid JSON, holds twice. */
function duplicateKey(text: string): string | undefined {
  const keysOfOpen: Set<string>[] = [];
  const tokens = /[{}]|"(?:[^"\\]|\\.)*"(\s*:)?/gy;
  // Everything but braces and strings is skipped; a string before a colon is a key.
  const skip = /[^{}"]*/y;
  for (let position = 0; position < text.length;) {
    skip.lastIndex = position;
    skip.exec(text);
    tokens.lastIndex = skip.lastIndex;
    const match = tokens.exec(text);
    if (match === null) return undefined;
    position = tokens.lastIndex;
    const [token, colon] = [match[0], match.at(1)];
    if (token === '{') keysOfOpen.push(new Set());
    else if (token === '}') keysOfOpen.pop();
    else if (colon !== undefined) {
      const key = JSON.parse(token.slice(0, -colon.length)) as string;
      const keys = keysOfOpen.at(-1);
      if (keys?.has(key)) return key;
      keys?.add(key);
    }
  }
  return undefined;
}
