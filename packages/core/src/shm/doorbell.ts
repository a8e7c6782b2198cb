/**
 * Doorbells: how a process that sleeps in its event loop is woken by another that found something for it in shared memory.
 *
 * Each thread that waits has one bell: an anonymous pipe, whose reading end its event loop watches. It writes the bell's three
 * numbers (its life, the file, the pipe's own number) where others find them. They open the pipe through the thread's
 * `/proc/<pid>/fd`, once, and write a byte. Nothing has a name, nothing is left behind, nobody waits in a thread pool. Being
 * watched keeps no program alive, and costs nothing while nobody rings.
 *
 * A ring says only that something may have changed: all who listen look again.
 */

import { host } from "../host/mod.ts";
import { EAGAIN, O_CLOEXEC, O_NONBLOCK, O_WRONLY } from "../native/linux.ts";
import { type Native, native } from "../native/mod.ts";
import { afterFork } from "../runtime/at-fork.ts";
import { isGone, numberOf } from "./thread-id.ts";

/** What others need in order to ring. */
export interface Bell {
  /** The number of the file in the process that listens; -1 where nobody can ring. */
  readonly file: number;
  /** The lower bits of the pipe's own number. */
  readonly pipe: number;
}

const DEAF: Bell = { file: -1, pipe: 0 };
/** So many pipes of others are kept open. */
const MOST_OPEN = 256;
const ONE = new Uint8Array([1]);

let own: { readonly bell: Bell; readonly ends: readonly number[] } | undefined;
const listeners = new Set<() => void>();
/** Open pipes of others, by the pipe's number. */
const others = new Map<number, { readonly life: number; readonly file: number }>();

afterFork(() => {
  // The reading end has been made silent by then; rings that are meant for the parent never come here.
  const [, writer] = own?.ends ?? [];
  if (writer !== undefined) native()?.libc.close(writer);
  own = undefined;
  listeners.clear();
});

/** The bell of this thread; there from the first call on. */
export function ownBell(): Bell {
  own ??= open();
  return own.bell;
}

/** Calls `ring` whenever the bell rings, until the returned function is called. */
export function listen(ring: () => void): () => void {
  listeners.add(ring);
  return () => listeners.delete(ring);
}

/**
 * Rings another thread's bell.
 *
 * @returns false if that thread is gone
 */
export function ring(life: number, bell: Bell): boolean {
  const api = native();
  if (api === undefined || bell.file < 0) return true;
  let pipe = others.get(bell.pipe);
  if (pipe !== undefined && pipe.life !== life) {
    forget(api, bell.pipe);
    pipe = undefined;
  }
  if (pipe === undefined) {
    if (isGone(life)) return false;
    const file = openPipe(api, life, bell);
    // It may not be opened, or not yet be there: whoever waits looks by itself from time to time.
    if (file === undefined) return true;
    pipe = { life, file };
    keep(api, bell.pipe, pipe);
  }
  // A full pipe has rung already.
  if (api.libc.write(pipe.file, ONE, 1) === 1 || api.errno() === EAGAIN) return true;
  forget(api, bell.pipe);
  return !isGone(life);
}

function open(): { bell: Bell; ends: number[] } {
  const api = native();
  const ends = new Int32Array(2);
  if (api === undefined || api.platform !== "linux" || api.libc.pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0)
    return { bell: DEAF, ends: [] };
  const [file, writer] = ends as unknown as [number, number];
  const pipe = pipeNumber(api, `/proc/self/fd/${file}`);
  const isWatched = host.watchPipe(file, () => {
    for (const ring of [...listeners]) ring();
  });
  if (!isWatched) {
    for (const end of ends) api.libc.close(end);
    return { bell: DEAF, ends: [] }; // whoever waits looks by itself
  }
  // The writing end stays open, or the pipe would end when the first who rang closes theirs.
  return { bell: pipe === undefined ? DEAF : { file, pipe }, ends: [file, writer] };
}

function openPipe(api: Native, life: number, bell: Bell): number | undefined {
  const path = `/proc/${numberOf(life)}/fd/${bell.file}`;
  if (pipeNumber(api, path) !== bell.pipe) return undefined;
  const file = api.libc.open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
  if (file < 0) return undefined;
  if (pipeNumber(api, `/proc/self/fd/${file}`) === bell.pipe) return file;
  api.libc.close(file);
  return undefined;
}

const link = new Uint8Array(64);

/** The lower bits of the number in `pipe:[4711]`. */
function pipeNumber({ libc }: Native, path: string): number | undefined {
  const length = libc.readlink(path, link, link.length);
  const number = length < 0 ? undefined : /^pipe:\[(\d+)\]$/.exec(host.asciiRead(link, 0, length))?.[1];
  return number === undefined ? undefined : Number(number) | 0;
}

function keep(api: Native, pipe: number, entry: { life: number; file: number }): void {
  others.set(pipe, entry);
  const [oldest] = others.keys();
  if (others.size > MOST_OPEN) forget(api, oldest as number);
}

function forget(api: Native, pipe: number): void {
  api.libc.close(others.get(pipe)?.file as number);
  others.delete(pipe);
}
