/**
 * Every error this package throws on purpose. `code` is stable and meant for programs;
 * `message` is meant for people and always says which value was wrong and what is allowed.
 */
export const ERROR_CODES = [
  /** An option, id or shape is not one of the allowed values; `field` names it. */
  'INVALID_ARGUMENT',
  /** A checkpoint, tokenizer or data file is malformed; `field` names the tensor, key or line. */
  'INVALID_FILE',
  /** The input is well formed but this build cannot process it (architecture, dtype, device). */
  'UNSUPPORTED',
  /** A file or directory does not exist. */
  'NOT_FOUND',
  /** Reading or writing failed in the operating system; `cause` holds its error. */
  'IO',
  /** The disk is full; nothing half-written is left behind. */
  'NO_SPACE',
  /** The hub could not be reached, or went on failing; what was downloaded is kept for the next try. */
  'NETWORK',
  /** The hub wants an access token, or another one; the message says which. */
  'ACCESS_DENIED',
  /** The request needs more memory than is allowed or available. */
  'OUT_OF_MEMORY',
  /** `convert` was called on a model that already has fewer KV heads or merge weights. */
  'ALREADY_CONVERTED',
  /** The loss or a gradient became NaN or infinite; parameters are left as before the step. */
  'NON_FINITE',
  /** The caller's AbortSignal fired; `cause` holds its reason. */
  'ABORTED',
  /** A request was not done when its `timeout` had passed. */
  'TIMEOUT',
  /** The engine holds as many unfinished requests as its limits allow; try again later. */
  'OVERLOADED',
  /** The object was used after `dispose()` or `close()`. */
  'DISPOSED',
  /** The native addon is missing or cannot be loaded; the message says how to build it. */
  'NATIVE_UNAVAILABLE',
  /** An optional peer dependency is not installed or cannot be loaded; the message names it. */
  'PEER_UNAVAILABLE',
  /** A bug in this package. */
  'INTERNAL',
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

export interface WgqaErrorDetails {
  /** Dotted name of the offending option, tensor, file key or argument. */
  field?: string | undefined;
  /** Allowed values, as text ("a divisor of 12", "'mean' | 'weighted'"). */
  allowed?: string | undefined;
  cause?: unknown;
}

/** Messages are for people and logs; what a message repeats may be of any length. */
const MAX_MESSAGE_LENGTH = 900;

export class WgqaError extends Error {
  override readonly name = 'WgqaError';
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly allowed: string | undefined;

  constructor(code: ErrorCode, message: string, details: WgqaErrorDetails = {}) {
    const text = shorten(message, MAX_MESSAGE_LENGTH);
    super(text, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.field = details.field && shorten(details.field);
    this.allowed = details.allowed && shorten(details.allowed, MAX_MESSAGE_LENGTH);
  }
}

/** The uniform sentence for a bad option: what was expected, what was given. */
export function invalidArgument(field: string, allowed: string, actual: unknown): WgqaError {
  const message = `${shorten(field)} must be ${allowed}, not ${describeValue(actual)}`;
  return new WgqaError('INVALID_ARGUMENT', message, { field, allowed });
}

/** Longest piece of somebody's text that a message repeats. */
const MAX_QUOTED_LENGTH = 200;

/** The beginning of a long text: what others wrote is repeated, but not at any length. */
export function shorten(text: string, maxLength = MAX_QUOTED_LENGTH): string {
  return text.length <= maxLength ? text : `${text.slice(0, maxLength)}…`;
}

/** A value in a few words, whatever it is: it may have no constructor, or throw when it is asked. */
export function describeValue(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(shorten(value, 80));
  // A large one takes long to spell.
  if (typeof value === 'bigint')
    return value === BigInt.asIntN(64, value) ? `${value}n` : 'a bigint';
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) {
    return String(value);
  }
  if (Array.isArray(value)) return describeArray(value);
  return typeof value === 'object' ? kindOf(value) : `a ${typeof value}`;
}

/** Short lists of numbers, as shapes, are told whole. */
function describeArray(value: readonly unknown[]): string {
  const isShort = value.length <= 8 && value.every((item) => typeof item === 'number');
  return isShort ? `[${value.join(', ')}]` : `an array of ${value.length}`;
}

function kindOf(value: object): string {
  try {
    const { name } = value.constructor as { readonly name?: unknown };
    return typeof name === 'string' && name !== '' ? shorten(name, 80) : 'an object';
  } catch {
    return 'an object';
  }
}

/** A WgqaError without its class, which is lost between threads. */
export interface ClonedError {
  readonly code: ErrorCode;
  readonly message: string;
  readonly field: string | undefined;
  readonly allowed: string | undefined;
}

export function cloneError(error: unknown): ClonedError {
  if (error instanceof WgqaError) {
    const { code, message, field, allowed } = error;
    return { code, message, field, allowed };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: 'INTERNAL', message, field: undefined, allowed: undefined };
}

export function restoreError({ code, message, field, allowed }: ClonedError): WgqaError {
  return new WgqaError(code, message, { field, allowed });
}
