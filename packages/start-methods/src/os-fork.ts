/** `fork()` and `waitpid()`: the system calls. */
import {
  assertMayStart,
  checkWaitOptions,
  describeValue,
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

/** Children of `fork()` that `waitpid()` has not returned yet. */
const children = new Map<number, WatchedChild>();
let hasPassedTest = false;
const FORK_TAKES_NOTHING =
  'fork() takes no arguments: to run a function in a copy of this process, write new Process({ target, startMethod: "fork" })';

/**
 * Copies this process, as the system call does. It returns in both processes, on the same line.
 *
 * The child has everything that its parent has. Both run the same timers, and both serve the same
 * sockets and servers. Promises that are pending in the parent are pending in the child too, and
 * `exit` listeners run in both. The child should therefore end soon, by `process.exit()` or
 * `exec()`. A `Process` with start method `"fork"` has none of these pitfalls.
 *
 * The child has its own pid and new random numbers. Connections and queues work in it. No `Process`
 * represents it: it may outlive its parent, and {@link waitpid} returns its exit code.
 *
 * @returns 0 in the child, the pid of the child in the parent
 * @throws {StartMethodError} if this process cannot be forked, or not now because worker threads or
 * operations are under way
 * @throws {ProcessError} if a module calls it while a child imports that module
 * @throws {TypeError} if it is called with an argument
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
  // biome-ignore lint/complexity/noArguments: a parameter would be a part of the public type
  if (arguments.length > 0) throw new TypeError(FORK_TAKES_NOTHING);
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
 * Waits for the end of a child of {@link fork}, as the system call does. The end of each child is
 * returned once.
 *
 * @param pid the result of `fork()`
 * @param options the limit of the wait, and a signal that cancels it
 * @returns the exit code, or the negative number of the signal that ended the child; null if the
 * time ran out
 * @throws {RangeError} if `fork()` has not returned this pid here, or its end has been returned
 * before
 *
 * @example A child that is ended by a signal
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
  checkWaitOptions("waitpid()", options);
  const child = children.get(pid);
  if (child === undefined) {
    throw new RangeError(
      `waitpid() takes the pid of a child that fork() created in this process, once for each child, not ${describeValue(pid)}`,
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

/**
 * Runs the quick self-test of forks, until it has passed once. The full test needs the event loop,
 * and `fork()` is synchronous.
 */
function runQuickTest({ native, forker }: ForkSupport): ForkRefusal | undefined {
  if (hasPassedTest) return undefined;
  const refusal = forking().quickTest(native, forker);
  hasPassedTest = refusal === undefined;
  return refusal;
}

function refusalError({ reason, message }: ForkRefusal): StartMethodError {
  const advice = reason === "requests" ? "; await them first, or start a Process, which waits for them itself" : "";
  return new StartMethodError(`fork() cannot copy this process: ${message}${advice}`);
}
