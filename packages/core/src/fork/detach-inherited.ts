/**
 * Detaches a child from the activities of its parent.
 *
 * Without this, the child would continue them: timers fire in both processes, and both read from
 * the same sockets. The child must stop them without an effect on the parent. It cannot close a
 * handle through libuv, because that would unlink the path of a listening Unix socket.
 *
 * - Sockets: the child replaces each inherited descriptor with an *inert* one, the read end of a
 *   pipe that never gets data. The handle stays open and reports no events.
 * - Timers: the child recognizes an inherited timer when it fires, by its async id, which is lower
 *   than any id created in the child. A search of the heap would find it earlier, but would take
 *   two garbage collections.
 */
import { O_CLOEXEC, O_RDONLY } from "../native/linux.ts";
import type { Native } from "../native/native.ts";
import { resetExit, resetThreadpool } from "./reset-process.ts";

const fs = process.getBuiltinModule("node:fs");

/** A libuv handle. `_getActiveHandles()` lists such handles, or objects that contain them. */
interface UvHandle {
  readonly fd?: number;
  close?(done?: () => void): void;
}

/** A timer or an immediate of Node, while it runs. */
interface Scheduled {
  _onTimeout?: unknown;
  _onImmediate?: unknown;
  _repeat?: unknown;
}

const internals = process as unknown as {
  _getActiveHandles(): Array<UvHandle & { readonly _handle?: UvHandle | null }>;
};
const NOOP = (): void => {};
/**
 * Events of `process` that report signals, errors and the end of the program. The child runs
 * another program, so the parent's listeners must not receive them.
 */
const PROCESS_EVENTS =
  /^(SIG[A-Z0-9]+|exit|beforeExit|uncaughtException|uncaughtExceptionMonitor|unhandledRejection|rejectionHandled|message|disconnect)$/;

/**
 * In a child: stops all inherited activities. Call it in a callback of the event loop that contains
 * only the fork, before the child does anything else.
 */
export function detachInherited(native: Native): void {
  disableTimers();
  for (const event of process.eventNames()) if (PROCESS_EVENTS.test(String(event))) process.removeAllListeners(event);
  resetThreadpool();
  resetExit();
  const makeInert = openInertPipe(native);
  for (const fd of new Set([...openSocketFds(), ...fdsWatchedByParent()])) makeInert(fd);
  disableHandles(makeInert);
  closeStdin(native, makeInert);
}

/** In a child: makes these descriptors inert. */
export function detachFds(native: Native, fds: readonly number[]): void {
  const makeInert = openInertPipe(native);
  for (const fd of fds) makeInert(fd);
}

/**
 * Opens a pipe without data, and returns a function that replaces a descriptor with its read end.
 */
function openInertPipe({ libc }: Native): (fd: number) => void {
  const pipeFds = new Int32Array(2);
  libc.pipe2(pipeFds, O_CLOEXEC); // the write end stays open, because closing it would signal the end of the data
  return (fd) => void libc.dup3(pipeFds[0] as number, fd, O_CLOEXEC);
}

/**
 * Disables inherited timers and immediates by an async hook that runs before each callback. The
 * hook does not need promises, and `trackPromises` keeps them fast on Node 24 and newer. Node 20
 * and 22 install promise hooks, which slow down all promises. The child asks Node to remove them,
 * unless other code uses them.
 */
function disableTimers(): void {
  const { AsyncResource, createHook, executionAsyncResource } = process.getBuiltinModule("node:async_hooks");
  // Other hooks that track promises add symbols to each new promise.
  const hasPromiseHooks = Object.getOwnPropertySymbols(new Promise(NOOP)).length > 0;
  // The ids increase, so everything inherited has a lower id than a new resource.
  const lastInheritedId = new AsyncResource("multiproc").asyncId();
  const before = (id: number): void => {
    if (id > lastInheritedId) return;
    const scheduled = executionAsyncResource() as Scheduled;
    if (typeof scheduled._onTimeout === "function") Object.assign(scheduled, { _onTimeout: NOOP, _repeat: null });
    else if (typeof scheduled._onImmediate === "function") scheduled._onImmediate = NOOP;
    else removeOwnerListeners(scheduled);
  };
  createHook({ before, trackPromises: false } as { before: typeof before }).enable();
  if (!hasPromiseHooks) (process.getBuiltinModule("node:v8").promiseHooks.onBefore(NOOP) as () => void)();
}

/**
 * Removes the listeners of the stream of a handle. If the parent was closing the handle at the
 * fork, the stream would emit "close" in the child.
 */
function removeOwnerListeners(handle: object): void {
  for (const symbol of Object.getOwnPropertySymbols(handle)) {
    if (symbol.description !== "owner_symbol") continue;
    const owner = (handle as Record<symbol, { removeAllListeners?(): void } | null>)[symbol];
    owner?.removeAllListeners?.();
  }
}

function openSocketFds(): number[] {
  return fs
    .readdirSync("/proc/self/fd")
    .map(Number)
    .filter((fd) => fd > 2 && isSocket(fd));
}

/**
 * Returns the other descriptors that the parent's loop watches, such as pipes and terminals. Node
 * does not list handles that are unref'd, so the list comes from the parent's epoll. If libuv has
 * created a descriptor with the same number for the child, it refers to another file, and is left
 * out.
 */
function fdsWatchedByParent(): number[] {
  const parent = `/proc/${process.ppid}`;
  const epollFds = fs
    .readdirSync(`${parent}/fd`)
    .filter((fd) => readlinkOrEmpty(`${parent}/fd/${fd}`).endsWith(":[eventpoll]"));
  const watchedFds = epollFds.flatMap((epollFd) => [
    ...readTextOrEmpty(`${parent}/fdinfo/${epollFd}`).matchAll(/^tfd: +(\d+)/gm),
  ]);
  return watchedFds
    .map(([, fd]) => Number(fd))
    .filter((fd) => fd > 2)
    .filter((fd) => {
      const own = readlinkOrEmpty(`/proc/self/fd/${fd}`);
      return own !== "" && !own.startsWith("anon_inode:") && own === readlinkOrEmpty(`${parent}/fd/${fd}`);
    });
}

function readlinkOrEmpty(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return ""; // the descriptor has been closed
  }
}

function readTextOrEmpty(path: string): string {
  try {
    return fs.readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

function isSocket(fd: number): boolean {
  try {
    return fs.fstatSync(fd, { bigint: true }).isSocket(); // big integers: see `openOutput()` in `child-environment.ts`
  } catch {
    return false; // the descriptor of the directory listing itself
  }
}

/**
 * Makes handles inert that are not sockets, such as pipes and watched files. Replaces `close()` of
 * all, because it would unlink the path of a server.
 */
function disableHandles(makeInert: (fd: number) => void): void {
  for (const active of internals._getActiveHandles()) {
    const handle = active._handle ?? active;
    const { fd } = handle;
    if (fd !== undefined && fd >= 0 && fd <= 2) continue;
    if (typeof fd === "number" && fd > 2) {
      if (!isSocket(fd)) makeInert(fd);
      handle.close = (done) => void (done && setImmediate(() => done.call(handle)));
    } else if (/^(FSEvent|StatWatcher)$/.test(handle.constructor.name)) handle.close?.();
  }
}

/**
 * Gives the child an empty standard input, as Python does. An input that the parent is reading
 * becomes inert.
 */
function closeStdin({ libc }: Native, makeInert: (fd: number) => void): void {
  const isStdinRead = internals._getActiveHandles().some((active) => (active._handle ?? active).fd === 0);
  if (isStdinRead) makeInert(0);
  else {
    const fd = libc.open("/dev/null", O_RDONLY | O_CLOEXEC);
    libc.dup2(fd, 0);
    libc.close(fd);
  }
  let input: unknown;
  const get = (): unknown => (input ??= fs.createReadStream("/dev/null"));
  Object.defineProperty(process, "stdin", { configurable: true, enumerable: true, get });
}
