/**
 * Context propagation: the stores of `AsyncLocalStorage` and the trace context of a call travel
 * with its task, in a CONTEXT message.
 */
import { type AnyFunction, TargetError } from "@multiproc/core";
import { decodeMessage, describeValue, encodeInto, type Frame, loadModules, singleton } from "@multiproc/core/internal";
import { type EncodedPayload, toPayload } from "./functions/encoded-payload.ts";

/**
 * The part of `AsyncLocalStorage` that context propagation needs.
 *
 * @example The class of Node, which Deno has too
 * ```ts
 * import { AsyncLocalStorage } from "node:async_hooks";
 * import type { ContextStorage } from "@multiproc/pool";
 *
 * const users: ContextStorage<string> = new AsyncLocalStorage<string>();
 * console.log(users.run("Ada", () => users.getStore())); // Ada
 * ```
 */
export interface ContextStorage<T> {
  /** Returns the store of the running code. */
  getStore(): T | undefined;
  /** Runs a function with a store. */
  run<R>(store: T, run: () => R): R;
}

/**
 * A propagated storage. A module that is loaded twice, by a bundler and by the host, creates two
 * copies.
 */
interface PropagatedStorage {
  readonly module: string;
  readonly name: string;
  readonly copies: Array<ContextStorage<unknown>>;
}

/** All propagated storages, by their module and name. */
const storages: Map<string, PropagatedStorage> = singleton("propagated context", () => new Map());

/** The content of a CONTEXT message. */
interface PropagatedContext {
  readonly trace: string | undefined;
  readonly stores: ReadonlyArray<readonly [module: string, name: string, store: unknown]>;
}

/** The context of a task, in its worker. */
export interface TaskContext {
  readonly trace: string | undefined;
  /** Returns a function that runs `fn` with the stores of the caller. */
  wrap(fn: AnyFunction): AnyFunction;
}

/**
 * Propagates an `AsyncLocalStorage` to the tasks of pools: a task runs with a copy of its caller's
 * store. Call it where the storage is created, in a module that the caller and the task share.
 *
 * @param moduleUrl `import.meta.url`, by which workers find the module
 * @param storage an `AsyncLocalStorage`
 * @param name a name that is unique among the storages of the module
 * @returns the storage
 *
 * @example Propagate the id of a request
 * ```ts
 * // file: requests.ts
 * import { AsyncLocalStorage } from "node:async_hooks";
 * import { propagateContext } from "@multiproc/pool";
 *
 * export const requests = propagateContext(import.meta.url, new AsyncLocalStorage<string>(), "requests");
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 * import { requests } from "./requests.ts";
 *
 * export const whoAsks = task(import.meta.url, function whoAsks() {
 *   return requests.getStore();
 * });
 * // file: main.ts
 * import { Pool } from "@multiproc/pool";
 * import { requests } from "./requests.ts";
 * import { whoAsks } from "./tasks.ts";
 *
 * await using pool = new Pool({ processes: 1 });
 * console.log(await requests.run("request 7", () => pool.apply(whoAsks))); // "request 7"
 * ```
 */
// biome-ignore lint/suspicious/noExplicitAny: of any store
export function propagateContext<S extends ContextStorage<any>>(moduleUrl: string | URL, storage: S, name: string): S {
  if (typeof storage?.getStore !== "function" || typeof storage.run !== "function") {
    throw new TypeError(
      `propagateContext() takes an AsyncLocalStorage as its second argument, not ${describeValue(storage)}`,
    );
  }
  const module = String(moduleUrl);
  const key = `${module}#${name}`;
  const known = storages.get(key);
  if (known === undefined) storages.set(key, { module, name, copies: [storage] });
  else known.copies.push(storage);
  return storage;
}

/**
 * Serializes the current context, to be sent with a task. Returns undefined if there is none.
 *
 * @throws {SendError} if a store cannot be sent
 */
export function captureContext(trace: string | undefined): EncodedPayload | undefined {
  if (trace === undefined && storages.size === 0) return undefined;
  const stores: Array<[string, string, unknown]> = [];
  for (const { module, name, copies } of storages.values()) {
    const store = copies.map((storage) => storage.getStore()).find((found) => found !== undefined);
    if (store !== undefined) stores.push([module, name, store]);
  }
  return trace === undefined && stores.length === 0 ? undefined : encodeInto(toPayload, { trace, stores }, "context");
}

/** Restores a captured context in the worker. */
export async function restoreContext(frame: Frame): Promise<TaskContext> {
  await loadModules(frame.modules);
  const { trace, stores } = decodeMessage(frame) as PropagatedContext;
  await loadModules(stores.map(([module]) => module));
  const layers = stores.flatMap(([module, name, store]) => {
    const found = storages.get(`${module}#${name}`);
    if (found === undefined)
      throw new TargetError(
        `Module "${module}" does not propagate a context "${name}" in this process: call propagateContext() at its top level`,
      );
    return found.copies.map((storage) => ({ storage, store }));
  });
  return {
    trace,
    wrap: (fn) =>
      layers.reduce<AnyFunction>(
        (inner, { storage, store }) =>
          (...args) =>
            storage.run(store, () => inner(...args)),
        fn,
      ),
  };
}
