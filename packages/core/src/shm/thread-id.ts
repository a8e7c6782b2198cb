/**
 * Who lives: how shared memory names a thread of a process, and how others find out that it has ended.
 *
 * A *life* is a thread's number together with eight bits of the time at which it started, in one word, so that a word can be
 * claimed by a single compare-and-swap. The whole time stands in a second word where there is room. A number that the system
 * gives to a new thread belongs to another start: so nobody who comes later is taken for one that has died. Numbers are those
 * of threads, not of processes, since the threads of one process exclude each other too. Where the system cannot be asked,
 * the life is the process's number, and nobody can be told to be dead.
 */

import { host } from "../host/mod.ts";
import { type Native, native } from "../native/mod.ts";
import { readProcFile } from "../native/proc-file.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";

/** A thread, as other processes know it. */
export interface ThreadId {
  /** Its number and a part of its start time: 30 bits, never 0. */
  readonly id: number;
  /** When it started, in ticks of the system's clock; 0 if that is not known. */
  readonly startTime: number;
}

const TID_BITS = 22;
const TID_MASK = (1 << TID_BITS) - 1;
const SYS_GETTID: Readonly<Record<string, number>> = { x64: 186, arm64: 178 };

let currentThread: ThreadId | undefined;
afterForkInChild(() => {
  currentThread = undefined;
});

/** The life of this thread. */
export function currentThreadId(): ThreadId {
  currentThread ??= readCurrentThread();
  return currentThread;
}

/** The number of the thread that an id names. */
export function tidOf(id: number): number {
  return id & TID_MASK;
}

/** Whether that thread has ended. It asks the system, which takes some microseconds. */
export function hasExited(id: number): boolean {
  return startTimeOf(id) === undefined;
}

/** When that thread started; undefined if it has ended, 0 where the system cannot be asked. */
export function startTimeOf(id: number): number | undefined {
  const api = native();
  if (api === undefined) return 0;
  const startTime = readStartTime(api, id & TID_MASK);
  return startTime !== undefined && packThreadId(id & TID_MASK, startTime) === id ? startTime : undefined;
}

function readCurrentThread(): ThreadId {
  const api = native();
  const syscallNumber = api?.platform === "linux" ? SYS_GETTID[api.arch] : undefined;
  if (api === undefined || syscallNumber === undefined) return { id: host.pid & TID_MASK, startTime: 0 };
  const tid = api.libc.syscall(syscallNumber, 0, 0);
  const startTime = readStartTime(api, tid) ?? 0;
  return { id: packThreadId(tid, startTime), startTime };
}

function packThreadId(tid: number, startTime: number): number {
  return tid | ((startTime & 0xff) << TID_BITS);
}

/** When a thread started; undefined if there is none, or it has ended and was only not asked about yet. */
function readStartTime(native: Native, tid: number): number | undefined {
  const text = readProcFile(native, `/proc/${tid}/stat`);
  if (text === undefined || text === "") return undefined;
  // The name of its program stands in parentheses, and may hold some itself.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return Number(fields[19]) & 0x7fff_ffff || 1;
}
