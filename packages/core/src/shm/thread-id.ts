/**
 * Thread ids name a thread in shared memory, and show other processes whether it has exited.
 *
 * A *thread id* packs the thread's TID (22 bits) and 8 bits of its start time into one word. A
 * single compare-and-swap can therefore claim a word for a thread. Data structures with a spare
 * word also store the full start time. The system reuses TIDs, but a new thread has another start
 * time than an exited one. Ids name threads instead of processes, because the threads of one
 * process exclude each other too. Without access to libc, the id is the pid, and no thread counts
 * as exited.
 */

import { host } from "../host/mod.ts";
import { SYS_GETTID } from "../native/linux.ts";
import { type Native, native } from "../native/mod.ts";
import { readProcFile } from "../native/proc-file.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";

/** A thread, as other processes identify it. */
export interface ThreadId {
  /** The TID and a part of the start time: 30 bits, never 0. */
  readonly id: number;
  /** The start time in clock ticks of the system; 0 if it is not known. */
  readonly startTime: number;
}

const TID_BITS = 22;
const TID_MASK = (1 << TID_BITS) - 1;

let currentThread: ThreadId | undefined;
afterForkInChild(() => {
  currentThread = undefined;
});

/** Returns the thread id of this thread. */
export function currentThreadId(): ThreadId {
  currentThread ??= readCurrentThread();
  return currentThread;
}

/** Returns the TID in a thread id. */
export function tidOf(id: number): number {
  return id & TID_MASK;
}

/** Returns whether a thread has exited. It reads `/proc`, which takes some microseconds. */
export function hasExited(id: number): boolean {
  return startTimeOf(id) === undefined;
}

/** Returns when a thread started; `undefined` if it has exited, 0 without access to libc. */
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

/** Returns when a thread started; `undefined` if it does not exist or is a zombie. */
function readStartTime(native: Native, tid: number): number | undefined {
  const text = readProcFile(native, `/proc/${tid}/stat`);
  if (text === undefined || text === "") return undefined;
  // The second field is the program's name in parentheses. The name may contain parentheses.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return Number(fields[19]) & 0x7fff_ffff || 1;
}
