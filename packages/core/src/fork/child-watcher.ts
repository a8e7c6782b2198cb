/** The children that this process has forked itself: how they end, without waiting for them in the loop's way. */
import type { ExitStatus } from "../host/host.ts";
import type { Native } from "../native/native.ts";
import { reap } from "./waitpid.ts";

/** A forked child. */
export interface WatchedChild {
  /** Settles when it has ended. */
  readonly exited: Promise<ExitStatus>;
  /** Whether the program stays alive for it; it does not at first. */
  ref(): void;
  unref(): void;
}

/** How often is looked, should a program take away all handlers of SIGCHLD. */
const POLL_INTERVAL_MS = 1000;
const watched = new Map<number, { native: Native; onExit(status: ExitStatus): void; keepsAlive: boolean }>();
let pollTimer: NodeJS.Timeout | undefined;

/** Looks after a child until it has ended. */
export function watchChild(native: Native, pid: number): WatchedChild {
  const exited = new Promise<ExitStatus>((onExit) => watched.set(pid, { native, onExit, keepsAlive: false }));
  if (watched.size === 1) {
    process.on("SIGCHLD", reapExited);
    pollTimer = setInterval(reapExited, POLL_INTERVAL_MS).unref();
  }
  setImmediate(reapExited); // it may have ended before anybody listened
  const setKeepsAlive = (keepsAlive: boolean): void => {
    const child = watched.get(pid);
    if (child !== undefined) child.keepsAlive = keepsAlive;
    updateRef();
  };
  return { exited, ref: () => setKeepsAlive(true), unref: () => setKeepsAlive(false) };
}

/** In a child: they are its siblings. */
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
