/**
 * The start method `forkserver`: children come from a process that has loaded their modules before.
 *
 * On Node on Linux it is a server that forks (`fork/`); elsewhere, and where the server finds that it cannot, spares
 * (`spares.ts`). Which of them it is shows in time and memory alone. Either is made by the first start that needs it, serves
 * this process as long as it lives, and is replaced when it has ended. A forked process asks the server that it comes from.
 */
import {
  afterForkInChild,
  assertMayStart,
  childModules,
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

/** What children come from. */
interface ChildSource {
  readonly kind: ForkserverKind;
  readonly isRunning: boolean;
  launch(options: StartOptions, args: readonly string[]): Promise<Child>;
  close(): Promise<void>;
}

/** A source on its way, for all that wait for it. */
interface PendingSource {
  readonly source: Promise<ChildSource>;
  readonly abort: AbortController;
  /** The interpreter that it was started with. */
  readonly executable: string | undefined;
  waiterCount: number;
  opened: ChildSource | undefined;
}

const state: { preload: readonly string[] | undefined; pending: PendingSource | undefined } = singleton(
  "forkserver",
  () => ({
    preload: undefined,
    pending: undefined,
  }),
);
afterForkInChild(() => {
  state.pending = undefined; // it serves the parent
});

/**
 * Names the modules that are loaded once, before any child of start method `forkserver` is made: its children find them
 * loaded. Called before the first start; a module that throws fails that start with its error.
 *
 * A forked child has them as they were after loading, in memory that is shared until one of both writes to it. A module that
 * keeps a socket or a worker open cannot be copied: then {@link forkserverKind} says so, and children are spares, each
 * of which loads the modules itself.
 *
 * @param modules their URLs, as `new URL("./images.ts", import.meta.url)` or `import.meta.resolve("typescript")`; in this order
 * @throws {TypeError} for what is no URL
 * @throws {StartMethodError} if children come from a server or spares already, with other modules
 *
 * @example A module that takes long to load, loaded once
 * ```ts
 * import { setForkserverPreload } from "@multiproc/start-methods";
 *
 * setForkserverPreload(["node:crypto"]);
 * ```
 */
export function setForkserverPreload(modules: readonly (string | URL)[]): void {
  if (!Array.isArray(modules))
    throw new TypeError(`setForkserverPreload() takes an array of URLs, not ${typeof modules}`);
  const preload = modules.map(checkedUrl);
  const isSame = JSON.stringify(preload) === JSON.stringify(state.preload ?? []);
  if (state.pending !== undefined && !isSame) {
    throw new StartMethodError(
      'setForkserverPreload() was called after the first process of start method "forkserver": call it before, at the start of the program',
    );
  }
  state.preload = preload;
}

/**
 * What children of start method `forkserver` come from here: forked by a server, or spares. Starts it if it does not run, so
 * that it is warm when the first child is wanted.
 *
 * @param options how long to wait, and what ends the wait
 * @throws {StartError} if a module of `setForkserverPreload()` throws, with its error as the cause
 * @throws {ProcessError} if a module calls it while a child imports that module
 * @throws {TimeoutError} when the time ran out
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
  return (await withTimeoutOrThrow(currentSource(options.signal), "forkserverKind()", options)).kind;
}

/**
 * Ends the server or the spares of this process, and what children a server has; the next start makes new ones.
 *
 * @internal
 */
export async function closeForkserver(): Promise<void> {
  const { pending } = state;
  state.pending = undefined;
  pending?.abort.abort();
  await pending?.source.then(
    (opened) => opened.close(),
    () => {},
  );
}

/** Has a server or a spare run the entry. */
export async function forkserverChild(options: StartOptions, args: readonly string[]): Promise<Child> {
  const { entry, execArgv, permissions = "inherit", signal } = options;
  // It may do less than a process that has loaded any module, or may not load this library's files later.
  if (permissions !== "inherit" || !filePath(entry.href).every((path) => host.canRead(path)))
    return spawnChild(options, args);
  const executable = state.pending?.executable ?? getExecutable();
  if (execArgv !== undefined || getExecutable() !== executable)
    return new SparePool(modulesToLoad()).launchDedicated(options, args);
  for (let attempt = 0; ; attempt++) {
    const childSource = await currentSource(signal);
    const launching = childSource.launch(options, args);
    try {
      return (await withTimeout(launching, "start()", { signal })) as Child;
    } catch (error) {
      // Nobody is left who would know it.
      if (signal?.aborted)
        void launching.then(
          (child) => child.kill("SIGKILL"),
          () => {},
        );
      // It ended a moment ago; nothing has come of this start.
      if (childSource.isRunning || attempt > 0 || signal?.aborted) throw error;
    }
  }
}

/** What children come from now. */
async function currentSource(signal: AbortSignal | undefined): Promise<ChildSource> {
  signal?.throwIfAborted();
  if (state.pending?.opened?.isRunning === false) state.pending = undefined;
  state.pending ??= startSource();
  const { pending } = state;
  pending.waiterCount++;
  try {
    return (await withTimeout(pending.source, "start()", { signal })) as ChildSource;
  } finally {
    pending.waiterCount--;
    // Nobody is left who wants it.
    if (pending.waiterCount === 0 && pending.opened === undefined) {
      pending.abort.abort();
      if (state.pending === pending) state.pending = undefined;
    }
  }
}

function startSource(): PendingSource {
  const abort = new AbortController();
  const pending: PendingSource = {
    source: openSource(abort.signal).then((opened) => (pending.opened = opened)),
    abort,
    executable: getExecutable(),
    waiterCount: 0,
    opened: undefined,
  };
  return pending;
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
    `setForkserverPreload() takes URLs of modules, such as new URL("./images.ts", import.meta.url) or import.meta.resolve("name"), not ${JSON.stringify(String(module))}`,
  );
}
