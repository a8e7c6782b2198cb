/**
 * Shareable objects (connections, queues, locks …) can be part of a message, and arrive as objects
 * that use the same resource.
 *
 * The class of a shareable object has a method {@link HANDLE} that returns a *handle*: plain data,
 * from which a *reviver* in the receiving process makes its own object. The handle names the module
 * that registers the reviver. Sending can change the sender's object, such as a connection that is
 * handed over. That change is made in `commit`, which runs only if the whole message was encoded.
 */
import { registry } from "../registry.ts";

/** The key of the method that returns the handle of an object; see {@link SharedHandle}. */
export const HANDLE: unique symbol = Symbol.for("multiproc.handle") as never;

/** The key of the method that attaches a copy in a forked child; see {@link Shareable}. */
export const REATTACH: unique symbol = Symbol.for("multiproc.reattach") as never;

/** The handle of a shareable object. */
export interface SharedHandle {
  /** The kind of the object, which selects the reviver: for example `"pipe.Connection"`. */
  readonly kind: string;
  /** The URL of the module that registers that reviver. */
  readonly module: string;
  /** The argument of the reviver: any value that can be sent. */
  readonly data: unknown;
  /**
   * Runs after the message with the handle was encoded. The argument is the scope of its delivery,
   * or `undefined` if that is not known.
   */
  readonly commit?: (scope: DeliveryScope | undefined) => void;
}

/**
 * The scope in which a message can reach its only receiver, such as a channel. When it ends,
 * handles that the receiver has not used become invalid.
 */
export interface DeliveryScope {
  /** Calls `run` when the scope has ended. */
  onEnd(run: () => void): void;
}

/** An object that arrives as an object of the same kind when it is sent. */
export interface Shareable {
  [HANDLE](): SharedHandle;
  /**
   * Attaches the copy of the object in a forked child, with the data of its handle. A copy without
   * this method must work in the child as it is.
   */
  [REATTACH]?(data: unknown): void;
}

/**
 * Makes the instances of a class shareable. A class calls it in a static block, where the callbacks
 * can use private members. The class does not declare the methods, so editors do not suggest them.
 *
 * @param toHandle returns the handle of an instance
 * @param reattach see {@link REATTACH}
 */
export function makeShareable<T extends object>(
  Class: abstract new (...args: never) => T,
  toHandle: (object: T) => SharedHandle,
  reattach?: (object: T, data: unknown) => void,
): void {
  const methods = {
    [HANDLE](this: T): SharedHandle {
      return toHandle(this);
    },
    ...(reattach && {
      [REATTACH](this: T, data: unknown): void {
        reattach(this, data);
      },
    }),
  };
  for (const key of Reflect.ownKeys(methods))
    Object.defineProperty(Class.prototype, key, { value: Reflect.get(methods, key), configurable: true });
}

/** Returns the handle of a shareable object. */
export function handleOf(object: object): SharedHandle {
  return (object as Shareable)[HANDLE]();
}

/**
 * Returns the shareable objects in a value that a forked child inherits. It searches arrays, plain
 * objects, maps and sets.
 */
export function shareablesIn(value: unknown): Shareable[] {
  const found = new Set<Shareable>();
  const seen = new Set<object>();
  const pending: unknown[] = [value];
  while (pending.length > 0) {
    const next = pending.pop();
    if (typeof next !== "object" || next === null || seen.has(next)) continue;
    seen.add(next);
    if (HANDLE in next) found.add(next as Shareable);
    else if (Array.isArray(next) || next instanceof Set) for (const item of next) pending.push(item);
    else if (next instanceof Map) for (const entry of next) pending.push(...entry);
    else if (Object.getPrototypeOf(next) === Object.prototype || Object.getPrototypeOf(next) === null)
      for (const item of Object.values(next)) pending.push(item);
  }
  return [...found];
}

/** Registers the reviver of a kind. The module of the kind calls it while it is loading. */
export function registerReviver(kind: string, revive: (data: unknown) => object): void {
  registry.revivers.set(kind, revive);
}
