/**
 * What becomes of this library's state in a process that was copied by `fork()`.
 *
 * A copy has all objects of its parent and none of its connections: each of those belongs to two processes now, and the child
 * must leave its side alone. So whatever holds something of the system says here how it begins anew in a child. A live object
 * (connection, queue) gets ready in the parent, where it makes the invitation that the child will dial.
 */
import { host } from "../host/mod.ts";
import { singleton } from "../registry.ts";

/** How the objects of a class pass to a forked child. */
export interface Heritage<T> {
  /** In the parent, before the fork. */
  before(object: T): void;
  /** In the child, before any code of the program runs. */
  after(object: T): void;
}

interface Heir {
  readonly object: WeakRef<object>;
  readonly heritage: Heritage<never>;
}

interface Estate {
  readonly hooks: Array<() => void>;
  readonly heirs: Set<Heir>;
  readonly gone: FinalizationRegistry<Heir>;
  /** Whether this process is a copy of another. */
  isForked: boolean;
}

const estate: Estate = singleton("estate", () => {
  const heirs = new Set<Heir>();
  return { hooks: [], heirs, gone: new FinalizationRegistry((heir) => heirs.delete(heir)), isForked: false };
});

/** Whether this process is a copy of another, made by `fork()`. */
export function isForked(): boolean {
  return estate.isForked;
}

/** Calls `run` in each forked child of this process, and in theirs, before any code of the program runs. */
export function afterFork(run: () => void): void {
  estate.hooks.push(run);
}

/** Has an object take part in forks for as long as it lives. */
export function inheritable<T extends object>(object: T, heritage: Heritage<T>): void {
  if (!host.capabilities.fork) return;
  const heir: Heir = { object: new WeakRef(object), heritage };
  estate.heirs.add(heir);
  estate.gone.register(object, heir);
}

/** In a parent that is about to fork. */
export function prepareHeirs(): void {
  for (const { object, heritage } of estate.heirs) {
    const found = object.deref();
    if (found !== undefined) heritage.before(found as never);
  }
}

/** In a child that was just forked. */
export function becomeHeir(): void {
  estate.isForked = true;
  for (const run of estate.hooks) run();
  for (const { object, heritage } of estate.heirs) {
    const found = object.deref();
    if (found !== undefined) heritage.after(found as never);
  }
}
