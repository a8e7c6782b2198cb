/** What Node keeps about its process and a fork leaves as it was; put right in the child, before any other code runs. */
import type { Native } from "../native/native.ts";
import { forgetKids } from "./child-watcher.ts";
import { renewRandomness } from "./reseed-random.ts";

const fs = process.getBuiltinModule("node:fs");
const wakeUp = new Int32Array(new SharedArrayBuffer(4));
let knowsItsExit = false;
let isLeaving = false;
let poolIsMended = false;
let endsBare = false;

/** Makes a fresh child a process of its own. */
export function renewProcess(native: Native): void {
  // Node keeps the pid as a plain value.
  const value = native.libc.getpid();
  Object.defineProperty(process, "pid", { value, enumerable: true, configurable: true, writable: false });
  renewRandomness();
  forgetKids();
  leaveQuickly(native);
  mendPool();
  wakeLoop();
}

/**
 * `process.exit()` ends a child as `os._exit()` does in Python, after the `exit` event: what the parent registered with C's
 * `atexit()` is the parent's. Coverage and profiles are written at the end of a native exit, so it stays where they are on.
 */
function leaveQuickly(native: Native): void {
  const profiled =
    process.env.NODE_V8_COVERAGE !== undefined || process.execArgv.some((flag) => /^--(cpu|heap)-prof/.test(flag));
  if (profiled) return;
  const { _exit } = native.libc;
  (process as unknown as { reallyExit(code: number): void }).reallyExit = (code) => _exit(code & 0xff);
  if (knowsItsExit) return;
  knowsItsExit = true;
  const { exit } = process;
  process.exit = (code) => {
    isLeaving = true;
    return exit.call(process, code);
  };
}

/** In a fork server: does for nothing what its children do in `process.exit()`, before a module listens for the end. */
export function rehearseExit(): void {
  const own = process as unknown as { _exiting: boolean; reallyExit(code: number): void };
  const { reallyExit } = own;
  own.reallyExit = () => {};
  process.exit(0);
  own._exiting = false;
  own.reallyExit = reallyExit;
  process.exitCode = undefined;
  isLeaving = false;
}

/**
 * A native exit, at the end of the loop or after an uncaught error, joins the threads of libuv's pool. If the parent used the
 * pool and the child has not, those threads are the parent's, and the exit would hang. With a request libuv makes the pool
 * anew first: its `pthread_atfork` handler has marked it as not yet made.
 */
function mendPool(): void {
  if (poolIsMended) return;
  poolIsMended = true;
  process.prependListener("exit", () => {
    // By `process.exit()` it is no native exit, and the threads would be made for nothing.
    if (!isLeaving) fs.stat("/", () => {});
  });
}

/** In a child whose `exit` listeners have been taken away: this one it needs. */
export function renewPool(): void {
  poolIsMended = false;
  mendPool();
}

/** In a child: ends it, also where its parent has put another function in the place of `process.exit()`, as test runners do. */
export function renewExit(): void {
  const own = process as unknown as { _exiting: boolean; reallyExit(code: number): never };
  process.exit = (code) => {
    isLeaving = true;
    if (code !== undefined && code !== null) process.exitCode = code;
    if (!own._exiting) {
      own._exiting = true;
      process.emit("exit", Number(process.exitCode ?? 0));
    }
    return own.reallyExit(Number(process.exitCode ?? 0));
  };
}

/**
 * Has a child that shares handles with its parent end after the `exit` event, without Node's cleaning up: that closes all
 * handles, and closing a listening Unix socket takes its path away from the parent. After an error that nobody caught, Node
 * prints it later, and ends without cleaning up anyway.
 */
export function endWithoutCleanUp({ libc }: Native): void {
  if (endsBare) return;
  endsBare = true;
  const emit = process.emit as (this: NodeJS.Process, event: string, ...args: unknown[]) => boolean;
  let isFatal = false;
  const end = (event: string, ...args: unknown[]): boolean => {
    isFatal ||= event === "uncaughtExceptionMonitor";
    const isHandled = emit.call(process, event, ...args);
    if (event === "uncaughtException" && isHandled) isFatal = false;
    if (event !== "exit" || isFatal) return isHandled;
    if (process.env.NODE_V8_COVERAGE !== undefined) process.getBuiltinModule("node:v8").takeCoverage();
    libc._exit(Number(process.exitCode ?? args[0] ?? 0) & 0xff);
    return isHandled;
  };
  process.emit = end as typeof process.emit;
}

/**
 * `uv_loop_fork()` drops wake-ups that were on their way, so a task that V8 posted before the fork (the end of an
 * asynchronous wasm compilation) would sleep until the next one. This posts one.
 */
function wakeLoop(): void {
  const { waitAsync } = Atomics as unknown as {
    waitAsync?: (cell: Int32Array, index: number, value: number, timeout: number) => unknown;
  };
  waitAsync?.(wakeUp, 0, 0, 1);
}
