/** Threads of this package's own files, compiled or not. */
import { Worker, type Transferable } from 'node:worker_threads';

/**
 * Starts the file `name` beside the module `from` (its `import.meta.url`) as a thread. In a clone the
 * sources are TypeScript, and tsx does not reach the entry file of a worker.
 */
export function startWorker(
  from: string,
  name: string,
  workerData: unknown,
  transferList: Transferable[] = [],
): Worker {
  const options = { workerData, transferList };
  const entry = new URL(`./${name}${from.slice(-3)}`, from);
  if (entry.pathname.endsWith('.js')) return new Worker(entry, options);
  const program = `import('tsx/esm/api').then(({ register }) => {
    register();
    return import(${JSON.stringify(entry.href)});
  })`;
  return new Worker(program, { ...options, eval: true, execArgv: [] });
}
