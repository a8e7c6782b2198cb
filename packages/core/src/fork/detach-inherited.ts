/**
 * How a child is kept from what its parent was doing.
 *
 * A copy goes on with all that was under way: timers fire in both processes, both read from the same sockets. In a child none
 * of that may go on, and none of it may be undone either: to close a listening Unix socket would take its path from the
 * parent. So nothing is closed as libuv closes it. Behind each inherited socket is put the reading end of a pipe into which
 * nobody ever writes: the handle lives, and never has anything to tell. A timer is found when it fires, by its number, which
 * is lower than that of anything made in the child: a look through the heap would find it sooner, and take two collections.
 */
import { O_CLOEXEC, O_RDONLY } from "../native/linux.ts";
import type { Native } from "../native/native.ts";
import { resetExit, resetThreadpool } from "./reset-process.ts";

const fs = process.getBuiltinModule("node:fs");

/** What is under the objects that `_getActiveHandles()` lists. */
interface Handle {
  readonly fd?: number;
  close?(done?: () => void): void;
}

/** What Node runs later, as it is while it runs. */
interface Scheduled {
  _onTimeout?: unknown;
  _onImmediate?: unknown;
  _repeat?: unknown;
}

const internals = process as unknown as { _getActiveHandles(): Array<Handle & { readonly _handle?: Handle | null }> };
const NOOP = (): void => {};
/** Events by which a program hears of its own end and its own errors; a child has a program of its own. */
const PROCESS_EVENTS =
  /^(SIG[A-Z0-9]+|exit|beforeExit|uncaughtException|uncaughtExceptionMonitor|unhandledRejection|rejectionHandled|message|disconnect)$/;

/** In a child: leaves to the parent what is the parent's. From a turn of the loop of its own, before any other code runs. */
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

/** In a child: leaves these files to the parent. */
export function detachFds(native: Native, fds: readonly number[]): void {
  const makeInert = openInertPipe(native);
  for (const fd of fds) makeInert(fd);
}

/** Puts in the place of a file one that has nothing to tell, for ever. */
function openInertPipe({ libc }: Native): (fd: number) => void {
  const pipeFds = new Int32Array(2);
  libc.pipe2(pipeFds, O_CLOEXEC); // the writing end stays open, or its end would be told
  return (fd) => void libc.dup3(pipeFds[0] as number, fd, O_CLOEXEC);
}

/**
 * A hook that is called before each callback knows which object it belongs to. Node slows all promises down while it has such
 * a hook, which needs to see none of them: so they are taken out again, unless somebody else watches them.
 */
function disableTimers(): void {
  const { AsyncResource, createHook, executionAsyncResource } = process.getBuiltinModule("node:async_hooks");
  const hasPromiseHooks = Object.getOwnPropertySymbols(new Promise(NOOP)).length > 0;
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

/** A handle that the parent was closing at the fork ends its closing here as well, and its stream would tell of it. */
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
 * What the parent's loop watches besides, such as pipes and terminals: a handle without a hold on the program is in no list of
 * Node's. What libuv has made anew for the child has the same number there, and is something else.
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
    return ""; // it was closed meanwhile
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
    return fs.fstatSync(fd, { bigint: true }).isSocket(); // not as numbers: see `openOutput()` in `surroundings.ts`
  } catch {
    return false; // it was the folder's own
  }
}

/** What is no socket, such as pipes and watched files; and sees to it that a server that is closed here keeps its path. */
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

/** As Python does, gives the child an input that has ended; one that the parent is reading from is only silenced. */
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
