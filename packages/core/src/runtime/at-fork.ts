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
export interface AtForkHooks<T> {
  /** In the parent, before the fork. */
  prepare(object: T): void;
  /** In the child, before any code of the program runs. */
  inChild(object: T): void;
}

interface AtForkEntry {
  readonly object: WeakRef<object>;
  readonly hooks: AtForkHooks<never>;
}

interface AtForkState {
  readonly childHooks: Array<() => void>;
  readonly entries: Set<AtForkEntry>;
  readonly finalization: FinalizationRegistry<AtForkEntry>;
  /** Whether this process is a copy of another. */
  isForkedChild: boolean;
}

const state: AtForkState = singleton("at-fork", () => {
  const entries = new Set<AtForkEntry>();
  return {
    childHooks: [],
    entries,
    finalization: new FinalizationRegistry((entry) => entries.delete(entry)),
    isForkedChild: false,
  };
});

/** Whether this process is a copy of another, made by `fork()`. */
export function isForkedChild(): boolean {
  return state.isForkedChild;
}

/** Calls `run` in each forked child of this process, and in theirs, before any code of the program runs. */
export function afterForkInChild(run: () => void): void {
  state.childHooks.push(run);
}

/** Has an object take part in forks for as long as it lives. */
export function registerAtFork<T extends object>(object: T, hooks: AtForkHooks<T>): void {
  if (!host.capabilities.fork) return;
  const entry: AtForkEntry = { object: new WeakRef(object), hooks };
  state.entries.add(entry);
  state.finalization.register(object, entry);
}

/** In a parent that is about to fork. */
export function runPrepareHooks(): void {
  for (const { object, hooks } of state.entries) {
    const found = object.deref();
    if (found !== undefined) hooks.prepare(found as never);
  }
}

/** In a child that was just forked. */
export function runChildHooks(): void {
  state.isForkedChild = true;
  for (const run of state.childHooks) run();
  for (const { object, hooks } of state.entries) {
    const found = object.deref();
    if (found !== undefined) hooks.inChild(found as never);
  }
}
