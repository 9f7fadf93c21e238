/** Values of callers that will be written as JSON. */
import { invalidArgument } from '../errors.ts';
import { MAX_DEPTH } from './json-parser.ts';

/**
 * Checks that `value`, given as `field`, is plain data that JSON can hold.
 * @throws WgqaError INVALID_ARGUMENT naming the part that is not
 */
export function checkPlainJson(value: unknown, field: string, depth = 0): void {
  if (value === null || ['string', 'boolean', 'undefined'].includes(typeof value)) return;
  if (typeof value === 'number') {
    if (Number.isFinite(value)) return;
    throw invalidArgument(field, 'a finite number', value);
  }
  const isPlain = Array.isArray(value) || isPlainObject(value);
  if (!isPlain) throw invalidArgument(field, 'plain data that JSON can hold', value);
  // A value that contains itself has no depth.
  if (depth >= MAX_DEPTH) throw invalidArgument(field, `at most ${MAX_DEPTH} levels deep`, value);
  for (const [key, item] of Object.entries(value)) {
    checkPlainJson(item, field.length < 200 ? `${field}.${key}` : field, depth + 1);
  }
}

function isPlainObject(value: unknown): value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // Objects of other realms have a prototype of their own, which has none.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}
