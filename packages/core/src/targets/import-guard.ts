/**
 * The import guard: keeps a program from starting itself without end.
 *
 * A child imports the module of its target. If that module starts processes at its top level, each
 * child would start more children, without end. A child therefore imports every module in an async
 * context of its own (`AsyncLocalStorage`, which follows calls, promises, timers and streams). Code
 * in that context may not start processes: the start throws a *refusal*, and the import fails with
 * it and is not repeated. Tasks that run at the same time have other contexts, so they may.
 *
 * The context outlives the import, because code that the top level began (`main()` without `await`)
 * continues after it. On Node before 24, an async context in use slows down all promises by several
 * times. There, the contexts are dropped once nothing runs that the import may have begun, and after
 * 110 ms in any case: the child's target may have opened sockets since then.
 *
 * A limit of the depth is a second check: each child knows how many processes and threads are
 * between it and the main program.
 */
import { ProcessError } from "../errors.ts";
import type { AsyncStorage } from "../host/host.ts";
import { host } from "../host/mod.ts";
import { singleton } from "../registry.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { childConfig } from "../runtime/child-config.ts";
import { processRole } from "../runtime/process-role.ts";

/** The import of a module that a message names, with everything that the module imports. */
interface GuardedImport {
  readonly module: string;
  hasEnded: boolean;
  readonly fail: (refusal: ProcessError) => void;
}

interface ImportGuardState {
  storage: AsyncStorage | undefined;
  /** Whether an async context of an import may exist. */
  areContextsInUse: boolean;
  /** The modules whose import failed because they started something, each with its refusal. */
  readonly refusedModules: Map<string, ProcessError>;
  /** All refusals. The value is true if no failed import reports the refusal. */
  readonly refusals: WeakMap<object, boolean>;
  latestRefusal: ProcessError | undefined;
  activeImportCount: number;
  /** How many resources of each kind were active before the imports. */
  resourcesBefore: ReadonlyMap<string, number> | undefined;
  cancelCheck: () => void;
}

/** The delays between checks after an import. The contexts are dropped after the last one in any case. */
const CHECK_DELAYS_MS: readonly number[] = [0, 10, 100];
const DEFAULT_MAX_DEPTH = 8;
const MAX_DEPTH_VARIABLE = "MULTIPROC_MAX_DEPTH";

const state: ImportGuardState = singleton("import guard", () => ({
  storage: undefined,
  areContextsInUse: false,
  refusedModules: new Map(),
  refusals: new WeakMap(),
  latestRefusal: undefined,
  activeImportCount: 0,
  resourcesBefore: undefined,
  cancelCheck: () => {},
}));
afterForkInChild(() => {
  state.activeImportCount = 0;
  dropImportContexts();
});

/**
 * Imports a module that a message names. In a child, the module may not start processes or threads.
 *
 * @param run imports the module
 * @throws {ProcessError} the refusal, as soon as the module has started something
 */
export function guardImport<T>(module: string, run: () => Promise<T>): Promise<T> {
  if (childConfig.depth === 0 && !processRole.isStandby) return run();
  const refusal = state.refusedModules.get(module);
  if (refusal !== undefined) return Promise.reject(refusal);
  state.storage ??= host.asyncLocalStorage();
  const { storage } = state;
  state.activeImportCount++;
  state.areContextsInUse = true;
  state.resourcesBefore ??= countResources();
  return new Promise((resolve, reject) => {
    const fail = (error: ProcessError): void => {
      state.refusedModules.set(module, error);
      reject(error);
    };
    const guarded: GuardedImport = { module, hasEnded: false, fail };
    void storage
      .run(guarded, run)
      .then((exports) => {
        guarded.hasEnded = true;
        resolve(exports);
      }, reject)
      .finally(() => --state.activeImportCount === 0 && scheduleCheck(0));
  });
}

/**
 * Returns whether the running code is the top level of a module that is imported for a message, or
 * was started by it.
 */
export function isImporting(): boolean {
  return childConfig.isImporting || currentImport() !== undefined;
}

/** Runs code outside of all imports, although an import may have led to it. */
export function outsideImports<T>(run: () => T): T {
  // run() would switch a disabled storage on again.
  return state.storage === undefined || !state.areContextsInUse ? run() : state.storage.run(undefined, run);
}

/** Drops the contexts of all imports. Call it only if no code of these imports can run any more. */
export function dropImportContexts(): void {
  state.cancelCheck();
  state.resourcesBefore = undefined;
  state.areContextsInUse = false;
  state.storage?.disable();
}

/**
 * Checks, after a delay, whether the contexts can be dropped. It does nothing on hosts on which an
 * async context does not slow down promises.
 */
function scheduleCheck(checkCount: number): void {
  if (host.isAsyncStorageFree) return;
  state.cancelCheck();
  const check = (): void => {
    if (state.activeImportCount > 0) return;
    const { resourcesBefore } = state;
    const isIdle = [...countResources()].every(([kind, count]) => count <= (resourcesBefore?.get(kind) ?? 0));
    if (isIdle || checkCount + 1 === CHECK_DELAYS_MS.length) dropImportContexts();
    else scheduleCheck(checkCount + 1);
  };
  state.cancelCheck = host.timer(check, CHECK_DELAYS_MS[checkCount] as number, false);
}

function countResources(): Map<string, number> {
  const counts = new Map<string, number>();
  for (const kind of host.activeResources()) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  return counts;
}

/**
 * Refuses a start that could repeat itself without end.
 *
 * @throws {ProcessError} if the running code belongs to an import, or if this process is too deep
 * below the main program
 */
export function assertMayStart(): void {
  const own = currentImport();
  if (own !== undefined || childConfig.isImporting) throw refuse(own);
  if (childConfig.depth === 0) return;
  const maxDepth = Number(host.env(MAX_DEPTH_VARIABLE) || DEFAULT_MAX_DEPTH);
  if (childConfig.depth < maxDepth) return;
  throw new ProcessError(
    `Cannot start a process: this one (pid ${host.pid}) is at depth ${childConfig.depth} below the main program, and the limit is ${maxDepth}. ` +
      `If your program needs a deeper tree of processes, set the environment variable ${MAX_DEPTH_VARIABLE}`,
    { code: "ERR_TOO_DEEP" },
  );
}

/**
 * Handles an uncaught error if it is a refusal, so that it does not end this process. A refusal
 * during an import is reported by the failed import. A later one is written to standard error.
 *
 * @returns whether the error is a refusal
 */
export function claimRefusal(error: unknown): boolean {
  const isLate = typeof error === "object" && error !== null ? state.refusals.get(error) : undefined;
  if (isLate === true) console.error(`Refused in process ${host.pid}:`, error);
  return isLate !== undefined;
}

/** Returns the last refusal of this process. */
export function latestRefusal(): ProcessError | undefined {
  return state.latestRefusal;
}

function currentImport(): GuardedImport | undefined {
  return state.storage?.getStore() as GuardedImport | undefined;
}

function refuse(own: GuardedImport | undefined): ProcessError {
  const error = refusalError(own);
  if (own === undefined) return error;
  state.latestRefusal = error;
  state.refusals.set(error, own.hasEnded && !state.refusedModules.has(own.module));
  if (!own.hasEnded) own.fail(error);
  return error;
}

function refusalError(own: GuardedImport | undefined): ProcessError {
  const module = own === undefined ? "a module" : `"${own.module}"`;
  const guard = childConfig.isThread
    ? "if (isMainThread) { … }, with isMainThread of node:worker_threads"
    : "if (parentProcess() === undefined) { … }";
  const when =
    own?.hasEnded === true
      ? "from code that a module began while this process imported it"
      : "while this one is still importing its modules";
  return new ProcessError(
    `Cannot start a process ${when}: ${module} starts processes or threads as it is loaded, and would start them again in each of them, without end. ` +
      `Put the tasks into a file of their own, or start processes only in the main program: ${guard} ` +
      "(on Deno, and on Node 24.2 and newer, also if (import.meta.main) { … })",
    { code: "ERR_IMPORTING" },
  );
}
