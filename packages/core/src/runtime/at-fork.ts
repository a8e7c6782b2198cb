/**
 * Fork hooks: what an object does before `fork()` in the parent, and after it in the child.
 *
 * A forked child has copies of all objects of its parent. It must not use the copied connections,
 * because parent and child would then read from the same socket. A module that holds descriptors,
 * timers or sockets forgets them in its child hook. A shareable object (connection, queue) exposes
 * an endpoint in its prepare hook, and its copy in the child dials that endpoint.
 */
import { host } from "../host/mod.ts";
import { singleton } from "../registry.ts";

/** The fork hooks of a class. They correspond to the handlers of `pthread_atfork()`. */
export interface AtForkHooks<T> {
  /** Runs in the parent before the fork. */
  prepare(object: T): void;
  /** Runs in the child before any code of the program. */
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

/** Returns whether this process was created by `fork()`. */
export function isForkedChild(): boolean {
  return state.isForkedChild;
}

/**
 * Calls `run` in every process that is forked from this one, directly or through its forked
 * children, before any code of the program.
 */
export function afterForkInChild(run: () => void): void {
  state.childHooks.push(run);
}

/** Registers hooks for an object, until the object is garbage-collected. */
export function registerAtFork<T extends object>(object: T, hooks: AtForkHooks<T>): void {
  if (!host.capabilities.fork) return;
  const entry: AtForkEntry = { object: new WeakRef(object), hooks };
  state.entries.add(entry);
  state.finalization.register(object, entry);
}

/** Runs the prepare hooks. The parent calls it right before a fork. */
export function runPrepareHooks(): void {
  for (const { object, hooks } of state.entries) {
    const found = object.deref();
    if (found !== undefined) hooks.prepare(found as never);
  }
}

/** Runs the child hooks. The child calls it right after a fork. */
export function runChildHooks(): void {
  state.isForkedChild = true;
  for (const run of state.childHooks) run();
  for (const { object, hooks } of state.entries) {
    const found = object.deref();
    if (found !== undefined) hooks.inChild(found as never);
  }
}
