/** Errors of the operating system, as WgqaError. */
import { WgqaError } from '../errors.ts';

/** Translates an error met while reading `file`: NOT_FOUND or IO. */
export function readError(error: unknown, file: string): unknown {
  if (error instanceof WgqaError) return error;
  const code = systemCode(error);
  if (code === undefined) return error;
  const missing = code === 'ENOENT' || code === 'ENOTDIR';
  const problem = missing ? 'does not exist' : `cannot be read (${code})`;
  return new WgqaError(missing ? 'NOT_FOUND' : 'IO', `${file} ${problem}`, {
    field: file,
    cause: error,
  });
}

/** Translates an error met while writing `file`: NO_SPACE or IO. */
export function writeError(error: unknown, file: string): unknown {
  if (error instanceof WgqaError) return error;
  const code = systemCode(error);
  if (code === undefined) return error;
  const full = code === 'ENOSPC' || code === 'EDQUOT';
  const problem = full ? 'cannot be written: the disk is full' : `cannot be written (${code})`;
  return new WgqaError(full ? 'NO_SPACE' : 'IO', `${file} ${problem}`, {
    field: file,
    cause: error,
  });
}

/** 'ENOENT' and its like; undefined for anything but an error of the operating system. */
export function systemCode(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' && /^E[A-Z0-9]+$/.test(error.code) ? error.code : undefined;
}
