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
  /** The request needs more memory than is allowed or available. */
  'OUT_OF_MEMORY',
  /** `convert` was called on a model that already has fewer KV heads or merge weights. */
  'ALREADY_CONVERTED',
  /** `fold` was called on a model without merge weights. */
  'NOTHING_TO_FOLD',
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

export class WgqaError extends Error {
  override readonly name = 'WgqaError';
  readonly code: ErrorCode;
  readonly field: string | undefined;
  readonly allowed: string | undefined;

  constructor(code: ErrorCode, message: string, details: WgqaErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.field = details.field;
    this.allowed = details.allowed;
  }
}

/** The uniform sentence for a bad option: what was expected, what was given. */
export function invalidArgument(field: string, allowed: string, actual: unknown): WgqaError {
  return new WgqaError('INVALID_ARGUMENT', `${field} must be ${allowed}, not ${describe(actual)}`, {
    field,
    allowed,
  });
}

function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.slice(0, 80));
  if (typeof value === 'bigint') return `${String(value)}n`;
  if (value === null || ['number', 'boolean', 'undefined'].includes(typeof value)) {
    return String(value);
  }
  if (Array.isArray(value)) return `an array of ${String(value.length)}`;
  return typeof value === 'object' ? value.constructor.name || 'an object' : `a ${typeof value}`;
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
