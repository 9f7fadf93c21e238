/** Hugging Face's tokenizers, loaded when first needed: it is native code, and not for every platform. */
import type * as tokenizers from 'tokenizers';
import { WgqaError } from '../errors.ts';

export type Library = typeof tokenizers;

/** @throws WgqaError `NATIVE_UNAVAILABLE` where it has no build for this platform */
export async function loadLibrary(): Promise<Library> {
  try {
    return await import('tokenizers');
  } catch (cause) {
    const platform = `${process.platform}-${process.arch}`;
    const message = `the package tokenizers cannot be loaded on ${platform}: ${String(cause)}`;
    throw new WgqaError('NATIVE_UNAVAILABLE', message, { field: 'tokenizers', cause });
  }
}
