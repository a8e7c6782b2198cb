/** The system call, for those who know it. */
import {
  assertMayStart,
  checkTimeout,
  type ForkRefusal,
  type ForkSupport,
  forking,
  host,
  runChildHooks,
  runPrepareHooks,
  TIMED_OUT,
  type WaitOptions,
  type WatchedChild,
  withTimeout,
} from "@multiproc/core/internal";
import { getForkSupport, StartMethodError } from "./start-method.ts";

/** Children that `fork()` made here and nobody has asked after yet. */
const children = new Map<number, WatchedChild>();
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
 * @throws {ProcessError} if a module calls it while a child imports that module
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
  assertMayStart();
  const support = getForkSupport();
  if ("reason" in support) throw refusalError(support);
  const forkApi = forking();
  const refusal = forkApi.pendingRequests() ?? runQuickTest(support);
  if (refusal !== undefined) throw refusalError(refusal);
  runPrepareHooks();
  const ownFds = host.openFds();
  const result = support.forker.fork();
  if (result.role === "refused") throw refusalError(result.refusal);
  if (result.role === "parent") {
    children.set(result.pid, forkApi.watchChild(support.native, result.pid));
    return result.pid;
  }
  forkApi.exitWithoutCleanup(support.native);
  forkApi.detachFds(support.native, ownFds);
  children.clear();
  runChildHooks();
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
  const child = children.get(pid);
  if (child === undefined) {
    throw new RangeError(
      `waitpid() takes the pid of a child that fork() made in this process and nobody has waited for, not ${String(pid)}`,
    );
  }
  child.ref();
  try {
    const status = await withTimeout(child.exited, "waitpid()", options);
    if (status === TIMED_OUT) return null;
    children.delete(pid);
    return status.signal === null ? status.code : -host.signalNumber(status.signal);
  } finally {
    child.unref();
  }
}

/** Once in a process; a fork between two lines of a program leaves no time for more. */
function runQuickTest({ native, forker }: ForkSupport): ForkRefusal | undefined {
  if (isTested) return undefined;
  const refusal = forking().quickTest(native, forker);
  isTested = refusal === undefined;
  return refusal;
}

function refusalError({ reason, message }: ForkRefusal): StartMethodError {
  const advice = reason === "requests" ? ": await them before, or start a Process, which waits for them itself" : "";
  return new StartMethodError(`fork() cannot copy this process: ${message}${advice}`);
}
