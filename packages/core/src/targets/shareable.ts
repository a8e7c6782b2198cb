/**
 * How a live object (connection, queue, lock …) takes part in messages.
 *
 * Its class has a method named {@link HANDLE} that makes a ticket: plain data from which the receiver builds its own object
 * that speaks with the same thing. The ticket names the module that must be loaded there. A hand-over can change the object
 * here (an end that moves); such a change is made in `commit`, which runs only when the whole message could be encoded.
 */
import { registry } from "../registry.ts";

/** The method by which an object hands itself over; see {@link SharedHandle}. */
export const HANDLE: unique symbol = Symbol.for("multiproc.handle") as never;

/** The method by which an object of a forked child attaches to its resource again; see {@link Shareable}. */
export const REATTACH: unique symbol = Symbol.for("multiproc.reattach") as never;

/** What a live object sends of itself. */
export interface SharedHandle {
  /** Which reviver rebuilds it, such as `"pipe.Connection"`. */
  readonly kind: string;
  /** The URL of the module that registers that reviver. */
  readonly module: string;
  /** What the reviver gets; any value that can be sent. */
  readonly data: unknown;
  /** Runs once the message holding the ticket is on its way, with what carries it, if that is known. */
  readonly commit?: (scope: DeliveryScope | undefined) => void;
}

/** What carries a message to its one receiver: when it ends, the tickets in it that were not used are void. */
export interface DeliveryScope {
  /** Calls `run` when the carrier has ended. */
  onEnd(run: () => void): void;
}

/** An object that can be part of a message as itself. */
export interface Shareable {
  [HANDLE](): SharedHandle;
  /**
   * In a forked child, where the object itself is: makes it what its ticket's data would be made into. An object without
   * this must work in a forked child as it is.
   */
  [REATTACH]?(data: unknown): void;
}

/**
 * Makes the instances of a class shareable. A class calls it in a static block, which may use its private members. The methods
 * do not show in the class's declarations, nor in the completion lists of users.
 *
 * @param toHandle makes the handle of an instance
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

/** The live objects in a value that a forked child inherits: in arrays, plain objects, maps and sets, however deep. */
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

/** Says how objects of `kind` are rebuilt from their ticket; called when the module of the kind is loaded. */
export function registerReviver(kind: string, revive: (data: unknown) => object): void {
  registry.revivers.set(kind, revive);
}
