/** What Node keeps about its process and a fork leaves as it was; put right in the child, before any other code runs. */
import type { Native } from "../native/native.ts";
import { forgetWatched } from "./child-watcher.ts";
import { reseed } from "./reseed-random.ts";

const fs = process.getBuiltinModule("node:fs");
const wakeupCell = new Int32Array(new SharedArrayBuffer(4));
let tracksExit = false;
let isExiting = false;
let ensuresThreadpool = false;
let exitsWithoutCleanup = false;

/** Makes a fresh child a process of its own. */
export function resetProcess(native: Native): void {
  // Node keeps the pid as a plain value.
  const value = native.libc.getpid();
  Object.defineProperty(process, "pid", { value, enumerable: true, configurable: true, writable: false });
  reseed();
  forgetWatched();
  exitWithoutAtexit(native);
  ensureThreadpool();
  postWakeup();
}

/**
 * `process.exit()` ends a child as `os._exit()` does in Python, after the `exit` event: what the parent registered with C's
 * `atexit()` is the parent's. Coverage and profiles are written at the end of a native exit, so it stays where they are on.
 */
function exitWithoutAtexit(native: Native): void {
  const isProfiled =
    process.env.NODE_V8_COVERAGE !== undefined || process.execArgv.some((flag) => /^--(cpu|heap)-prof/.test(flag));
  if (isProfiled) return;
  const { _exit } = native.libc;
  (process as unknown as { reallyExit(code: number): void }).reallyExit = (code) => _exit(code & 0xff);
  if (tracksExit) return;
  tracksExit = true;
  const { exit } = process;
  process.exit = (code) => {
    isExiting = true;
    return exit.call(process, code);
  };
}

/** In a fork server: does for nothing what its children do in `process.exit()`, before a module listens for the end. */
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
 * A native exit, at the end of the loop or after an uncaught error, joins the threads of libuv's pool. If the parent used the
 * pool and the child has not, those threads are the parent's, and the exit would hang. With a request libuv makes the pool
 * anew first: its `pthread_atfork` handler has marked it as not yet made.
 */
function ensureThreadpool(): void {
  if (ensuresThreadpool) return;
  ensuresThreadpool = true;
  process.prependListener("exit", () => {
    // By `process.exit()` it is no native exit, and the threads would be made for nothing.
    if (!isExiting) fs.stat("/", () => {});
  });
}

/** In a child whose `exit` listeners have been taken away: this one it needs. */
export function resetThreadpool(): void {
  ensuresThreadpool = false;
  ensureThreadpool();
}

/** In a child: ends it, also where its parent has put another function in the place of `process.exit()`, as test runners do. */
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
 * Has a child that shares handles with its parent end after the `exit` event, without Node's cleaning up: that closes all
 * handles, and closing a listening Unix socket takes its path away from the parent. After an error that nobody caught, Node
 * prints it later, and ends without cleaning up anyway.
 */
export function exitWithoutCleanup({ libc }: Native): void {
  if (exitsWithoutCleanup) return;
  exitsWithoutCleanup = true;
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
 * `uv_loop_fork()` drops wake-ups that were on their way, so a task that V8 posted before the fork (the end of an
 * asynchronous wasm compilation) would sleep until the next one. This posts one.
 */
function postWakeup(): void {
  const { waitAsync } = Atomics as unknown as {
    waitAsync?: (cell: Int32Array, index: number, value: number, timeout: number) => unknown;
  };
  waitAsync?.(wakeupCell, 0, 0, 1);
}
