/**
 * Watches the children that this process has forked itself, without blocking the event loop.
 *
 * Node reaps only the children that it has spawned. SIGCHLD reports an exit at once. A timer also
 * checks, because the program may remove all handlers of the signal.
 */
import type { ExitStatus } from "../host/host.ts";
import type { Native } from "../native/native.ts";
import { reap } from "./waitpid.ts";

/** A forked child. */
export interface WatchedChild {
  /** Resolves when the child has ended. */
  readonly exited: Promise<ExitStatus>;
  /** Keeps this process alive until the child ends. Initially the child does not. */
  ref(): void;
  unref(): void;
}

const POLL_INTERVAL_MS = 1000;
const watched = new Map<number, { native: Native; onExit(status: ExitStatus): void; keepsAlive: boolean }>();
let pollTimer: NodeJS.Timeout | undefined;

/** Watches a child until it ends. */
export function watchChild(native: Native, pid: number): WatchedChild {
  const exited = new Promise<ExitStatus>((onExit) => watched.set(pid, { native, onExit, keepsAlive: false }));
  if (watched.size === 1) {
    process.on("SIGCHLD", reapExited);
    pollTimer = setInterval(reapExited, POLL_INTERVAL_MS).unref();
  }
  setImmediate(reapExited); // the child may have ended before the handler was installed
  const setKeepsAlive = (keepsAlive: boolean): void => {
    const child = watched.get(pid);
    if (child !== undefined) child.keepsAlive = keepsAlive;
    updateRef();
  };
  return { exited, ref: () => setKeepsAlive(true), unref: () => setKeepsAlive(false) };
}

/** In a child: forgets the children of the parent, which are its siblings. */
export function forgetWatched(): void {
  watched.clear();
  stopPolling();
}

function reapExited(): void {
  for (const [pid, { native, onExit }] of watched) {
    const status = reap(native, pid);
    if (status === undefined) continue;
    watched.delete(pid);
    onExit(status);
  }
  if (watched.size === 0) stopPolling();
  else updateRef();
}

function updateRef(): void {
  const mustStayAlive = [...watched.values()].some(({ keepsAlive }) => keepsAlive);
  if (mustStayAlive) pollTimer?.ref();
  else pollTimer?.unref();
}

function stopPolling(): void {
  process.off("SIGCHLD", reapExited);
  clearInterval(pollTimer);
}
