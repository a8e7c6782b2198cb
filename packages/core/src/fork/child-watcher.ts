/** The children that this process has forked itself: how they end, without waiting for them in the loop's way. */
import type { ExitStatus } from "../host/host.ts";
import type { Native } from "../native/native.ts";
import { reap } from "./waitpid.ts";

/** A forked child. */
export interface Kid {
  /** Settles when it has ended. */
  readonly exited: Promise<ExitStatus>;
  /** Whether the program stays alive for it; it does not at first. */
  ref(): void;
  unref(): void;
}

/** How often is looked, should a program take away all handlers of SIGCHLD. */
const SWEEP = 1000;
const kids = new Map<number, { native: Native; ended(status: ExitStatus): void; keeps: boolean }>();
let keeper: NodeJS.Timeout | undefined;

/** Looks after a child until it has ended. */
export function lookAfter(native: Native, pid: number): Kid {
  const exited = new Promise<ExitStatus>((ended) => kids.set(pid, { native, ended, keeps: false }));
  if (kids.size === 1) {
    process.on("SIGCHLD", sweep);
    keeper = setInterval(sweep, SWEEP).unref();
  }
  setImmediate(sweep); // it may have ended before anybody listened
  const keep = (keeps: boolean): void => {
    const kid = kids.get(pid);
    if (kid !== undefined) kid.keeps = keeps;
    stay();
  };
  return { exited, ref: () => keep(true), unref: () => keep(false) };
}

/** In a child: they are its siblings. */
export function forgetKids(): void {
  kids.clear();
  rest();
}

function sweep(): void {
  for (const [pid, { native, ended }] of kids) {
    const status = reap(native, pid);
    if (status === undefined) continue;
    kids.delete(pid);
    ended(status);
  }
  if (kids.size === 0) rest();
  else stay();
}

function stay(): void {
  const isKept = [...kids.values()].some(({ keeps }) => keeps);
  if (isKept) keeper?.ref();
  else keeper?.unref();
}

function rest(): void {
  process.off("SIGCHLD", sweep);
  clearInterval(keeper);
}
