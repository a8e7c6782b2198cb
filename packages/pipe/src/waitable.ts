/**
 * The hooks with which `wait()` reads the state of an object. A class registers them in a static
 * block. They are stored under a symbol, so that an editor does not suggest them to users.
 */

/** Functions that read the state of a waitable object of class `T`. */
export interface WaitHooks<T> {
  /** Throws if `call` cannot wait for the object, for example after `close()`. */
  check(object: T, call: string): void;
  /** Whether the object has something to receive, or has ended. */
  isReady(object: T): boolean;
  /** Calls `run` when the object may have become ready. Returns a function that cancels this. */
  watch(object: T, run: () => void): () => void;
}

/** Registered globally, so that `wait()` accepts objects of another copy of this package in the same process. */
const WAIT_HOOKS: unique symbol = Symbol.for("multiproc.waitHooks") as never;

/** Makes the instances of a class waitable. */
export function makeWaitable<T extends object>(Class: abstract new (...args: never) => T, hooks: WaitHooks<T>): void {
  Object.defineProperty(Class.prototype, WAIT_HOOKS, { value: hooks, configurable: true });
}

/** Returns the hooks of an object, or undefined if its class is not waitable. */
export function waitHooksOf(object: object): WaitHooks<object> | undefined {
  return (object as { readonly [WAIT_HOOKS]?: WaitHooks<object> })[WAIT_HOOKS];
}
