import { WgqaError, type ErrorCode } from '../../src/index.ts';

/** The WgqaError that `work` throws or rejects with; fails if there is none. */
export async function errorOf(work: () => unknown): Promise<WgqaError> {
  try {
    await work();
  } catch (error) {
    if (error instanceof WgqaError) return error;
    throw error;
  }
  throw new Error('expected a WgqaError, but nothing was thrown');
}

/** What tests compare of an error: its code and its field. */
export async function failureOf(
  work: () => unknown,
): Promise<{ code: ErrorCode; field: string | undefined }> {
  const { code, field } = await errorOf(work);
  return { code, field };
}
