/**
 * Corrects the state that Node keeps about its process, and that a fork copies. That is the pid,
 * `process.exit()`, the thread pool and pending wake-ups.
 *
 * The forker calls {@link resetProcess} in the child, after the checks of the copy and before code of the
 * library or the user runs. Hooks of other modules are in `at-fork.ts`.
 */
import type { Native } from "../native/native.ts";
import { forgetWatched } from "./child-watcher.ts";
import { reseed } from "./reseed-random.ts";

const fs = process.getBuiltinModule("node:fs");
const wakeupCell = new Int32Array(new SharedArrayBuffer(4));
let isExitWrapped = false;
let isExiting = false;
let hasThreadpoolListener = false;
let isEmitWrapped = false;

/** In a child: corrects all state that differs from the parent's. */
export function resetProcess(native: Native): void {
  // Node caches the pid.
  const pid = native.libc.getpid();
  Object.defineProperty(process, "pid", { value: pid, enumerable: true, configurable: true, writable: false });
  reseed();
  forgetWatched();
  exitWithoutAtexit(native);
  ensureThreadpool();
  postWakeup();
}

/**
 * Makes `process.exit()` skip the handlers of C's `atexit()`, which belong to the parent. Python's
 * `os._exit()` does the same. Node still emits the `exit` event. With coverage or profiling, Node's
 * native exit stays, because it writes their files.
 */
function exitWithoutAtexit(native: Native): void {
  const isProfiled =
    process.env.NODE_V8_COVERAGE !== undefined || process.execArgv.some((flag) => /^--(cpu|heap)-prof/.test(flag));
  if (isProfiled) return;
  const { _exit } = native.libc;
  (process as unknown as { reallyExit(code: number): void }).reallyExit = (code) => _exit(code & 0xff);
  if (isExitWrapped) return;
  isExitWrapped = true;
  const { exit } = process;
  process.exit = (code) => {
    isExiting = true;
    return exit.call(process, code);
  };
}

/**
 * In a fork server: runs `process.exit()` without its effect, so that it is compiled. Call it
 * before any module listens for "exit".
 */
export function warmUpExit(): void {
  const internals = process as unknown as { _exiting: boolean; reallyExit(code: number): void };
  const { reallyExit } = internals;
  internals.reallyExit = () => {};
  process.exit(0);
  internals._exiting = false;
  internals.reallyExit = reallyExit;
  process.exitCode = undefined;
  isExiting = false;
}

/**
 * Makes sure that the child has a libuv thread pool of its own when it ends. Node's native exit, at
 * the end of the loop or after an uncaught error, joins the threads of the pool. If only the parent
 * has used the pool, the threads do not exist in the child, and the exit would hang. A request
 * makes libuv create the pool again, because libuv's `pthread_atfork` handler has reset it.
 */
function ensureThreadpool(): void {
  if (hasThreadpoolListener) return;
  hasThreadpoolListener = true;
  process.prependListener("exit", () => {
    // `process.exit()` is not a native exit, so the threads are not needed.
    if (!isExiting) fs.stat("/", () => {});
  });
}

/**
 * In a child whose `exit` listeners have been removed: adds the listener of `ensureThreadpool()`
 * again.
 */
export function resetThreadpool(): void {
  hasThreadpoolListener = false;
  ensureThreadpool();
}

/**
 * In a child: restores `process.exit()`, which the parent may have replaced, as test runners do.
 */
export function resetExit(): void {
  const internals = process as unknown as { _exiting: boolean; reallyExit(code: number): never };
  process.exit = (code) => {
    isExiting = true;
    if (code !== undefined && code !== null) process.exitCode = code;
    if (!internals._exiting) {
      internals._exiting = true;
      process.emit("exit", Number(process.exitCode ?? 0));
    }
    return internals.reallyExit(Number(process.exitCode ?? 0));
  };
}

/**
 * In a child that shares handles with its parent: makes the process end right after its `exit`
 * event, without Node's cleanup. The cleanup closes all handles, and closing a listening Unix
 * socket would unlink its path. An uncaught error is an exception: Node must still print it, and
 * then ends without cleanup anyway.
 */
export function exitWithoutCleanup({ libc }: Native): void {
  if (isEmitWrapped) return;
  isEmitWrapped = true;
  const emit = process.emit as (this: NodeJS.Process, event: string, ...args: unknown[]) => boolean;
  let isFatal = false;
  const emitThenExit = (event: string, ...args: unknown[]): boolean => {
    isFatal ||= event === "uncaughtExceptionMonitor";
    const isHandled = emit.call(process, event, ...args);
    if (event === "uncaughtException" && isHandled) isFatal = false;
    if (event !== "exit" || isFatal) return isHandled;
    if (process.env.NODE_V8_COVERAGE !== undefined) process.getBuiltinModule("node:v8").takeCoverage();
    libc._exit(Number(process.exitCode ?? args[0] ?? 0) & 0xff);
    return isHandled;
  };
  process.emit = emitThenExit as typeof process.emit;
}

/**
 * Wakes the event loop once, by the timeout of `Atomics.waitAsync()`. `uv_loop_fork()` drops
 * pending wake-ups. A task that V8 posted before the fork, such as the end of an asynchronous wasm
 * compilation, would otherwise wait for the next wake-up.
 */
function postWakeup(): void {
  const { waitAsync } = Atomics as unknown as {
    waitAsync?: (cell: Int32Array, index: number, value: number, timeout: number) => unknown;
  };
  waitAsync?.(wakeupCell, 0, 0, 1);
}
