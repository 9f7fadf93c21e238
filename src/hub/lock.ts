/**
 * Locks between processes, the same that Python's library takes: flock(2), which the kernel frees
 * however its holder ends. Node cannot call it, but the lock belongs to the open file, and the
 * program flock(1), part of every Debian and Alpine, can take it for the file that we hold open.
 */
import { spawn } from 'node:child_process';
import { open, type FileHandle } from 'node:fs/promises';
import { abortError, throwIfAborted } from '../abort.ts';

/**
 * Waits until no other process holds the lock. Where there is no flock(1), or the file system has no
 * locks, it holds nothing: two processes would then both download, and write the same bytes.
 * @returns lets go
 * @throws WgqaError ABORTED, or an error of the operating system
 */
export async function lockFile(
  file: string,
  signal: AbortSignal | undefined,
): Promise<() => Promise<void>> {
  throwIfAborted(signal);
  const handle = await open(file, 'a+');
  try {
    await runFlock(handle, signal);
  } catch (error) {
    await handle.close();
    throw error;
  }
  return () => handle.close();
}

function runFlock(handle: FileHandle, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn('flock', ['3'], { stdio: ['ignore', 'ignore', 'ignore', handle.fd] });
    const stop = (): void => {
      child.kill('SIGKILL');
    };
    signal?.addEventListener('abort', stop, { once: true });
    const end = (): void => {
      signal?.removeEventListener('abort', stop);
      if (signal?.aborted) reject(abortError(signal));
      else resolve();
    };
    child.on('error', end);
    child.on('close', end);
  });
}
