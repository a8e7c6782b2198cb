/** What surrounds a call and goes with it to its worker: stores of asynchronous context, and where the call stands in a trace. */
import { type AnyFunction, TargetError } from "@multiproc/core";
import { decodeMessage, encodeInto, type Frame, loadModules, singleton } from "@multiproc/core/internal";
import { type EncodedPayload, toPayload } from "./functions/encoded-payload.ts";

/**
 * What `AsyncLocalStorage` is, as far as it is used here.
 *
 * @example Node's own is one, on Deno too
 * ```ts
 * import { AsyncLocalStorage } from "node:async_hooks";
 * import type { ContextStorage } from "@multiproc/pool";
 *
 * const users: ContextStorage<string> = new AsyncLocalStorage<string>();
 * console.log(users.run("Ada", () => users.getStore())); // Ada
 * ```
 */
export interface ContextStorage<T> {
  /** The store of the running code. */
  getStore(): T | undefined;
  /** Runs a function with a store. */
  run<R>(store: T, run: () => R): R;
}

/** A storage that is carried. A module that was loaded twice, by a loader and by the host, has made it twice. */
interface PropagatedStorage {
  readonly module: string;
  readonly name: string;
  readonly copies: Array<ContextStorage<unknown>>;
}

/** The storages that are carried, by their module and name. */
const storages: Map<string, PropagatedStorage> = singleton("propagated context", () => new Map());

/** The context of a task, as it is sent. */
interface PropagatedContext {
  readonly trace: string | undefined;
  readonly stores: ReadonlyArray<readonly [module: string, name: string, store: unknown]>;
}

/** The context of a task in its worker. */
export interface TaskContext {
  readonly trace: string | undefined;
  /** Has a function run with the stores of who called it. */
  wrap(fn: AnyFunction): AnyFunction;
}

/**
 * Has the store of an `AsyncLocalStorage` go with every call to a pool: its task runs with a copy of the store that the caller
 * had. To be called where the storage is made, in a module that caller and task share.
 *
 * @param moduleUrl `import.meta.url`, by which workers find the module
 * @param storage an `AsyncLocalStorage`
 * @param name tells the storages of one module apart
 * @returns the storage
 *
 * @example The request that a task works for
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
    throw new TypeError("propagateContext() takes an AsyncLocalStorage as its second argument");
  }
  const module = String(moduleUrl);
  const key = `${module}#${name}`;
  const known = storages.get(key);
  if (known === undefined) storages.set(key, { module, name, copies: [storage] });
  else known.copies.push(storage);
  return storage;
}

/**
 * The context of this moment, to be sent with a task; undefined if there is none.
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

/** What was captured, in the worker. */
export async function restoreContext(frame: Frame): Promise<TaskContext> {
  await loadModules(frame.modules);
  const { trace, stores } = decodeMessage(frame) as PropagatedContext;
  await loadModules(stores.map(([module]) => module));
  const layers = stores.flatMap(([module, name, store]) => {
    const found = storages.get(`${module}#${name}`);
    if (found === undefined) throw new TargetError(`Module "${module}" carries no context "${name}" in this process`);
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
