/**
 * The start method `forkserver`: children come from processes that have loaded their modules in
 * advance.
 *
 * On Node on Linux a server forks the children (`fork-server/`). Where processes cannot be forked,
 * interpreters that were started in advance become the children (`spares/`). The two differ only in
 * time and memory. The first start creates the server or the spares. They end with this process,
 * and are replaced if they end before. A forked process requests its children from the server that
 * forked it.
 */
import {
  afterForkInChild,
  assertMayStart,
  checkWaitOptions,
  childModules,
  describeValue,
  host,
  processRole,
  singleton,
  type WaitOptions,
  withTimeout,
  withTimeoutOrThrow,
} from "@multiproc/core/internal";
import { getExecutable } from "./executable.ts";
import type { Child, ForkserverKind, StartOptions } from "./launcher.ts";
import { SparePool } from "./spares/spare-pool.ts";
import { filePath, spawnChild } from "./spawn.ts";
import { StartMethodError } from "./start-method.ts";

/** A fork server or a pool of spares. */
interface ChildSource {
  readonly kind: ForkserverKind;
  readonly isRunning: boolean;
  launch(options: StartOptions, args: readonly string[]): Promise<Child>;
  close(): Promise<void>;
}

/** The source of this process, from the beginning of its start. All starts share it. */
interface SharedSource {
  readonly source: Promise<ChildSource>;
  readonly abort: AbortController;
  /** The interpreter of the source. */
  readonly executable: string | undefined;
  /** The number of starts that wait until the source is open. */
  waiterCount: number;
  opened: ChildSource | undefined;
}

const state: { preload: readonly string[] | undefined; shared: SharedSource | undefined } = singleton(
  "forkserver",
  () => ({
    preload: undefined,
    shared: undefined,
  }),
);
afterForkInChild(() => {
  state.shared = undefined; // the source belongs to the parent
});

/**
 * Sets the modules that are loaded before children of start method `forkserver` are created, so
 * that every child has them from its start. Call it before the first start. If a module throws,
 * that start fails with its error.
 *
 * A forked child shares the memory of these modules with the server until one of the two writes to
 * it. A process with an open socket or a worker thread cannot be forked. If a module keeps one
 * open, children are spares instead, each of which loads the modules itself; {@link forkserverKind}
 * reports this.
 *
 * @param modules URLs in the order of loading, such as `new URL("./images.ts", import.meta.url)` or
 * `import.meta.resolve("typescript")`
 * @throws {TypeError} for a value that is not a URL
 * @throws {StartMethodError} if a server or spares were already started with other modules
 *
 * @example A module that takes long to load is loaded once
 * ```ts
 * import { setForkserverPreload } from "@multiproc/start-methods";
 *
 * setForkserverPreload(["node:crypto"]);
 * ```
 */
export function setForkserverPreload(modules: readonly (string | URL)[]): void {
  if (!Array.isArray(modules))
    throw new TypeError(`setForkserverPreload() takes an array of URLs, not ${describeValue(modules)}`);
  const preload = modules.map(checkedUrl);
  const isSame = JSON.stringify(preload) === JSON.stringify(state.preload ?? []);
  if (state.shared !== undefined && !isSame) {
    throw new StartMethodError(
      'setForkserverPreload() was called after the first start by "forkserver": call it at the start of the program',
    );
  }
  state.preload = preload;
}

/**
 * Reports whether the children of start method `forkserver` are forked by a server or are spares.
 * It starts the server or the first spare if necessary, so that the first child starts fast.
 *
 * @param options the limit of the wait, and a signal that cancels it
 * @throws {StartError} if a module of `setForkserverPreload()` throws, with its error as the cause
 * @throws {ProcessError} if a module calls it while a child imports that module
 * @throws {TimeoutError} if the time runs out
 *
 * @example
 * ```ts
 * import { forkserverKind } from "@multiproc/start-methods";
 *
 * const { kind, reason } = await forkserverKind();
 * console.log(kind === "fork" ? "children are forked" : `children are spares, because ${reason}`);
 * ```
 */
export async function forkserverKind(options: WaitOptions = {}): Promise<ForkserverKind> {
  assertMayStart();
  checkWaitOptions("forkserverKind()", options);
  return (await withTimeoutOrThrow(currentSource(options.signal), "forkserverKind()", options)).kind;
}

/**
 * Ends the fork server with its children, or the spares. The next start creates new ones.
 *
 * @internal
 */
export async function closeForkserver(): Promise<void> {
  const { shared } = state;
  state.shared = undefined;
  shared?.abort.abort();
  await shared?.source.then(
    (opened) => opened.close(),
    () => {},
  );
}

/** Starts a child by the fork server or from a spare. */
export async function forkserverChild(options: StartOptions, args: readonly string[]): Promise<Child> {
  const { entry, execArgv, permissions = "inherit", signal } = options;
  // A spare loads its modules in advance, and the entry when it is assigned. A child may lack the
  // permission to read them: if it has `permissions`, or if this process cannot read the entry.
  if (permissions !== "inherit" || !filePath(entry.href).every((path) => host.canRead(path)))
    return spawnChild(options, args);
  const { shared } = state;
  // The source keeps the interpreter that it was started with. `undefined` is the default one.
  const isOtherInterpreter = shared !== undefined && shared.executable !== getExecutable();
  if (execArgv !== undefined || isOtherInterpreter)
    return new SparePool(modulesToLoad()).launchDedicated(options, args);
  for (let attempt = 0; ; attempt++) {
    const childSource = await currentSource(signal);
    const launching = childSource.launch(options, args);
    try {
      return (await withTimeout(launching, "start()", { signal })) as Child;
    } catch (error) {
      // An aborted start does not return this child to the caller.
      if (signal?.aborted)
        void launching.then(
          (child) => child.kill("SIGKILL"),
          () => {},
        );
      // The source has ended, and no child of it is left. A new source can start the child.
      if (childSource.isRunning || attempt > 0 || signal?.aborted) throw error;
    }
  }
}

/** Returns the source of children; starts one if there is none. */
async function currentSource(signal: AbortSignal | undefined): Promise<ChildSource> {
  signal?.throwIfAborted();
  if (state.shared?.opened?.isRunning === false) state.shared = undefined;
  state.shared ??= startSource();
  const { shared } = state;
  shared.waiterCount++;
  try {
    return (await withTimeout(shared.source, "start()", { signal })) as ChildSource;
  } finally {
    shared.waiterCount--;
    // The source cannot be started, or all starts that waited for it were cancelled.
    if (shared.waiterCount === 0 && shared.opened === undefined) {
      shared.abort.abort();
      if (state.shared === shared) state.shared = undefined;
    }
  }
}

function startSource(): SharedSource {
  const abort = new AbortController();
  const shared: SharedSource = {
    source: openSource(abort.signal).then((opened) => (shared.opened = opened)),
    abort,
    executable: getExecutable(),
    waiterCount: 0,
    opened: undefined,
  };
  return shared;
}

async function openSource(signal: AbortSignal): Promise<ChildSource> {
  const preload = modulesToLoad();
  const refused = host.whyNoFork();
  if (refused !== undefined) return new SparePool(preload, refused.message).warmed(signal);
  const { ForkServerLauncher, ForkRefusedError } = await import("./fork-server/mod.ts");
  try {
    const { forkServer } = processRole;
    const joined =
      forkServer !== undefined && state.preload === undefined ? await ForkServerLauncher.join(forkServer) : undefined;
    return joined ?? (await ForkServerLauncher.start(preload, signal));
  } catch (error) {
    if (!(error instanceof ForkRefusedError)) throw error;
    return new SparePool(preload, error.explanation).warmed(signal);
  }
}

function modulesToLoad(): string[] {
  return [...childModules, ...(state.preload ?? [])];
}

function checkedUrl(module: string | URL): string {
  try {
    const { href, protocol } = new URL(module);
    if (protocol !== "blob:") return href;
  } catch {}
  throw new TypeError(
    `setForkserverPreload() takes URLs of modules, such as new URL("./images.ts", import.meta.url) or import.meta.resolve("name"), not ${describeValue(module)}`,
  );
}
