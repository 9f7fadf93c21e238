/** Reading JSON of strangers: values of the right kind, or an error that names the key. */
import { WgqaError } from '../../errors.ts';

export type JsonObject = Readonly<Record<string, unknown>>;

/** No published vocabulary has a million tokens. */
export const MAX_VOCAB_SIZE = 1 << 20;
/** UTF-16 units of a piece or an added token; the longest published have 128. */
export const MAX_PIECE_LENGTH = 1024;

/** A malformed tokenizer file; `field` is "file: key". */
export function malformed(field: string, problem: string, cause?: unknown): WgqaError {
  return new WgqaError('INVALID_FILE', `${field} ${problem}`, { field, cause });
}

/** What a file asks for that this package does not do; `allowed` says what it does. */
export function unsupported(field: string, what: unknown, allowed: string): WgqaError {
  const shown = typeof what === 'string' ? JSON.stringify(what.slice(0, 80)) : typeof what;
  return new WgqaError('UNSUPPORTED', `${field} is ${shown}`, { field, allowed });
}

export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isTokenId(value: unknown, limit = MAX_VOCAB_SIZE): value is number {
  return typeof value === 'number' && Number.isInteger(value) && value >= 0 && value < limit;
}

export function objectAt(value: unknown, field: string): JsonObject {
  if (!isObject(value)) throw malformed(field, 'must be an object');
  return value;
}

export function listAt(value: unknown, field: string, maxLength: number): readonly unknown[] {
  if (!Array.isArray(value) || value.length > maxLength) {
    throw malformed(field, `must be a list of at most ${maxLength}`);
  }
  return value;
}

export function textAt(value: unknown, field: string, maxLength = MAX_PIECE_LENGTH): string {
  if (typeof value !== 'string' || value.length > maxLength) {
    throw malformed(field, `must be text of at most ${maxLength} characters`);
  }
  return value;
}

/** Text, or undefined where there is none or it is empty. */
export function optionalTextAt(value: unknown, field: string): string | undefined {
  return value === null || value === undefined ? undefined : textAt(value, field) || undefined;
}

export function booleanAt(value: unknown, field: string, usual: boolean): boolean {
  if (value === undefined || value === null) return usual;
  if (typeof value !== 'boolean') throw malformed(field, 'must be true or false');
  return value;
}

export function oneOfAt<const T extends string>(
  value: unknown,
  field: string,
  allowed: readonly T[],
): T {
  if (!allowed.includes(value as T)) throw malformed(field, `must be ${allowed.join(' or ')}`);
  return value as T;
}
