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
import { readSystemFile } from "../native/proc-file.ts";
import { afterFork } from "../runtime/at-fork.ts";

/** A thread, as other processes know it. */
export interface Life {
  /** Its number and a part of its start time: 30 bits, never 0. */
  readonly id: number;
  /** When it started, in ticks of the system's clock; 0 if that is not known. */
  readonly started: number;
}

const NUMBER_BITS = 22;
const NUMBER = (1 << NUMBER_BITS) - 1;
const GETTID: Readonly<Record<string, number>> = { x64: 186, arm64: 178 };

let own: Life | undefined;
afterFork(() => {
  own = undefined;
});

/** The life of this thread. */
export function ownLife(): Life {
  own ??= look();
  return own;
}

/** The number of the thread that an id names. */
export function numberOf(id: number): number {
  return id & NUMBER;
}

/** Whether that thread has ended. It asks the system, which takes some microseconds. */
export function isGone(id: number): boolean {
  return startOf(id) === undefined;
}

/** When that thread started; undefined if it has ended, 0 where the system cannot be asked. */
export function startOf(id: number): number | undefined {
  const api = native();
  if (api === undefined) return 0;
  const started = find(api, id & NUMBER);
  return started !== undefined && idOf(id & NUMBER, started) === id ? started : undefined;
}

function look(): Life {
  const api = native();
  const call = api?.platform === "linux" ? GETTID[api.arch] : undefined;
  if (api === undefined || call === undefined) return { id: host.pid & NUMBER, started: 0 };
  const number = api.libc.syscall(call, 0, 0);
  const started = find(api, number) ?? 0;
  return { id: idOf(number, started), started };
}

function idOf(number: number, started: number): number {
  return number | ((started & 0xff) << NUMBER_BITS);
}

/** When a thread started; undefined if there is none, or it has ended and was only not asked about yet. */
function find(native: Native, number: number): number | undefined {
  const text = readSystemFile(native, `/proc/${number}/stat`);
  if (text === undefined || text === "") return undefined;
  // The name of its program stands in parentheses, and may hold some itself.
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields[0] === "Z" || fields[0] === "X") return undefined;
  return Number(fields[19]) & 0x7fff_ffff || 1;
}
