/** Whose logits processor is running: what it waits for may wait for it. */
import { AsyncLocalStorage } from 'node:async_hooks';

interface Scope {
  readonly owner: object;
  isOpen: boolean;
}

const scopes = new AsyncLocalStorage<Scope>();

/** Runs a processor of `owner`'s until what it returned has settled. */
export async function insideProcessor<T>(owner: object, run: () => T | Promise<T>): Promise<T> {
  const scope = { owner, isOpen: true };
  try {
    return await scopes.run(scope, run);
  } finally {
    scope.isOpen = false;
  }
}

/** Whether the caller is a processor of `owner`'s that has not settled. */
export function isInsideProcessor(owner: object): boolean {
  const scope = scopes.getStore();
  return scope?.owner === owner && scope.isOpen;
}
