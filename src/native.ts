/**
 * The only file that loads the native addon; `native-binding.ts` describes what it exports.
 * Everything here is internal: shapes and options are already validated by the layer above, and
 * native errors arrive as plain Error objects with `code`, `field` and `allowed`; `fromNative` turns
 * them into WgqaError.
 */
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import path from 'node:path';
import { describeAddonProblem } from './addon-problem.ts';
import { ERROR_CODES, WgqaError, type ErrorCode } from './errors.ts';
import type { NativeBinding } from './native-binding.ts';

export type * from './native-binding.ts';

const require = createRequire(import.meta.url);
const packageRoot = path.dirname(path.dirname(fileURLToPath(import.meta.url)));

let loaded: NativeBinding | undefined;

/** Where the addon is loaded from. */
export function addonFile(): string {
  return process.env['WGQA_ADDON'] ?? path.join(packageRoot, 'build/Release/wgqa.node');
}

/** Loads the addon on first use. Throws NATIVE_UNAVAILABLE with the cure. */
export function native(): NativeBinding {
  if (loaded) return loaded;
  // Read by the OpenMP runtime when it is loaded: its threads, which oneDNN trains on, would otherwise
  // spin between products, and on a machine that does other work too, a step would take a thousand
  // times as long.
  process.env['OMP_WAIT_POLICY'] ??= 'passive';
  try {
    const binding = require(addonFile()) as NativeBinding;
    // exit() destroys the libraries under threads that still compute with them.
    process.once('exit', () => {
      binding.close();
    });
    loaded = binding;
    return binding;
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    const problem = describeAddonProblem(reason, addonFile(), packageRoot);
    throw new WgqaError('NATIVE_UNAVAILABLE', problem, { cause });
  }
}

/** Turns an error of the addon into a WgqaError; anything else passes through. */
export function fromNative(error: unknown): unknown {
  if (error instanceof WgqaError || typeof error !== 'object' || error === null) return error;
  const { code, message, field, allowed } = error as Partial<WgqaError>;
  if (!ERROR_CODES.includes(code as ErrorCode)) return error;
  return new WgqaError(code as ErrorCode, message ?? String(code), {
    field: field === '' ? undefined : field,
    allowed: allowed === '' ? undefined : allowed,
    cause: error,
  });
}

/** Awaits native work, translating its errors. */
export async function callNative<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw fromNative(error);
  }
}
