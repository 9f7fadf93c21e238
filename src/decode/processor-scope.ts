/** Whose logits processor is running: what it waits for may wait for it. */
import { AsyncLocalStorage } from 'node:async_hooks';

interface Scope {
  readonly owner: object;
  isOpen: boolean;
}

// Once it is used it slows every promise of the process down: plain functions do without.
const scopes = new AsyncLocalStorage<Scope>();
let running: object | undefined;
/** Functions that are not declared `async`, and yet returned a promise. */
const waiting = new WeakSet<object>();

type Processor<T> = () => T | Promise<T>;

/**
 * Runs a processor of `owner`'s until what it returned has settled. `identity` is the function that
 * the caller knows; of one that is not declared `async`, what it does after its first return is
 * told from others' work from its second call on.
 */
export function insideProcessor<T>(
  owner: object,
  identity: object,
  run: Processor<T>,
): T | Promise<T> {
  const isAsync = identity.constructor.name === 'AsyncFunction' || waiting.has(identity);
  return isAsync ? runAsync(owner, run) : runPlain(owner, identity, run);
}

function runPlain<T>(owner: object, identity: object, run: Processor<T>): T | Promise<T> {
  const outer = running;
  running = owner;
  try {
    const returned = run();
    if (isPromise(returned)) waiting.add(identity);
    return returned;
  } finally {
    running = outer;
  }
}

async function runAsync<T>(owner: object, run: Processor<T>): Promise<T> {
  const scope = { owner, isOpen: true };
  try {
    return await scopes.run(scope, run);
  } finally {
    scope.isOpen = false;
  }
}

/** Whether a value is to be waited for; promises of other realms count, too. */
export function isPromise<T>(value: T | Promise<T>): value is Promise<T> {
  return typeof (value as { then?: unknown } | undefined | null)?.then === 'function';
}

/** Whether the caller is a processor of `owner`'s that has not settled. */
export function isInsideProcessor(owner: object): boolean {
  const scope = scopes.getStore();
  return running === owner || (scope?.owner === owner && scope.isOpen);
}
