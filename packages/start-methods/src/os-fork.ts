/** The system call, for those who know it. */
import {
  becomeHeir,
  checkTimeout,
  type ForkRefusal,
  forking,
  host,
  type Kid,
  type Opened,
  prepareHeirs,
  TIMED_OUT,
  type WaitOptions,
  within,
} from "@multiproc/core/internal";
import { openForFork, StartMethodError } from "./start-method.ts";

/** Children that `fork()` made here and nobody has asked after yet. */
const kids = new Map<number, Kid>();
let isTested = false;

/**
 * Copies this process, as the system call does: it returns in both, on the same line.
 *
 * For those who know what that means; a `Process` with start method `"fork"` does without what follows. The child has all
 * that its parent had: both go on with the same timers, and both answer on the same sockets and servers; what the parent
 * waits for, the child waits for too; `exit` listeners run in each. So the child had better leave soon, by `process.exit()`
 * or `exec()`. It has its own pid and fresh randomness, and connections and queues work in it. It is nobody's `Process`: it
 * may outlive its parent, and {@link waitpid} tells how it ended.
 *
 * @returns 0 in the child, the child's pid in the parent
 * @throws {StartMethodError} where this process cannot be forked, or not now: workers or operations are under way
 *
 * @example
 * ```ts
 * import { fork, getAllStartMethods, waitpid } from "@multiproc/start-methods";
 *
 * if (getAllStartMethods().includes("fork")) {
 *   const pid = fork();
 *   if (pid === 0) process.exit(7);
 *   console.log(await waitpid(pid)); // 7
 * }
 * ```
 */
export function fork(): number {
  const opened = openForFork();
  if ("reason" in opened) throw refused(opened);
  const tools = forking();
  const underWay = tools.underWay() ?? quickTest(opened);
  if (underWay !== undefined) throw refused(underWay);
  prepareHeirs();
  const own = host.openFiles();
  const made = opened.forker.fork();
  if (made.role === "refused") throw refused(made.refusal);
  if (made.role === "parent") {
    kids.set(made.pid, tools.lookAfter(opened.native, made.pid));
    return made.pid;
  }
  tools.endWithoutCleanUp(opened.native);
  tools.disown(opened.native, own);
  kids.clear();
  becomeHeir();
  return 0;
}

/**
 * Waits for the end of a child that {@link fork} made here, as the system call does. It can be asked once.
 *
 * @param pid what `fork()` returned
 * @param options how long to wait, and what ends the wait
 * @returns its exit code, or the negative number of the signal that ended it; null when the time ran out
 * @throws {RangeError} if `fork()` returned no such pid here, or its end has been told before
 *
 * @example The end of a child that a signal ends
 * ```ts
 * import { fork, getAllStartMethods, waitpid } from "@multiproc/start-methods";
 *
 * if (getAllStartMethods().includes("fork")) {
 *   const pid = fork();
 *   if (pid === 0) process.kill(process.pid, "SIGKILL");
 *   console.log(await waitpid(pid)); // -9
 * }
 * ```
 */
export async function waitpid(pid: number, options: WaitOptions = {}): Promise<number | null> {
  checkTimeout("waitpid()", options.timeout);
  const kid = kids.get(pid);
  if (kid === undefined) {
    throw new RangeError(
      `waitpid() takes the pid of a child that fork() made in this process and nobody has waited for, not ${String(pid)}`,
    );
  }
  kid.ref();
  try {
    const status = await within(kid.exited, "waitpid()", options);
    if (status === TIMED_OUT) return null;
    kids.delete(pid);
    return status.signal === null ? status.code : -host.signalNumber(status.signal);
  } finally {
    kid.unref();
  }
}

/** Once in a process; a fork between two lines of a program leaves no time for more. */
function quickTest({ native, forker }: Opened): ForkRefusal | undefined {
  if (isTested) return undefined;
  const refusal = forking().quickTest(native, forker);
  isTested = refusal === undefined;
  return refusal;
}

function refused({ reason, message }: ForkRefusal): StartMethodError {
  const advice = reason === "requests" ? ": await them before, or start a Process, which waits for them itself" : "";
  return new StartMethodError(`fork() cannot copy this process: ${message}${advice}`);
}
