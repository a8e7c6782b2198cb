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
import { afterForkInChild } from "../runtime/at-fork.ts";
import { hasExited, tidOf } from "./thread-id.ts";

/** What others need in order to ring. */
export interface Doorbell {
  /** The number of the file in the process that listens; -1 where nobody can ring. */
  readonly fd: number;
  /** The lower bits of the pipe's own number. */
  readonly inode: number;
}

const NO_DOORBELL: Doorbell = { fd: -1, inode: 0 };
/** So many pipes of others are kept open. */
const MAX_OPEN_PIPES = 256;
const RING_BYTE = new Uint8Array([1]);

let ownPipe: { readonly doorbell: Doorbell; readonly fds: readonly number[] } | undefined;
const listeners = new Set<() => void>();
/** Open pipes of others, by the pipe's number. */
const peerPipes = new Map<number, { readonly threadId: number; readonly fd: number }>();

afterForkInChild(() => {
  // The reading end has been made silent by then; rings that are meant for the parent never come here.
  const [, writeFd] = ownPipe?.fds ?? [];
  if (writeFd !== undefined) native()?.libc.close(writeFd);
  ownPipe = undefined;
  listeners.clear();
});

/** The bell of this thread; there from the first call on. */
export function ownDoorbell(): Doorbell {
  ownPipe ??= openDoorbell();
  return ownPipe.doorbell;
}

/** Calls `ring` whenever the bell rings, until the returned function is called. */
export function onRing(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Rings another thread's bell.
 *
 * @returns false if that thread is gone
 */
export function ringDoorbell(threadId: number, doorbell: Doorbell): boolean {
  const api = native();
  if (api === undefined || doorbell.fd < 0) return true;
  let peerPipe = peerPipes.get(doorbell.inode);
  if (peerPipe !== undefined && peerPipe.threadId !== threadId) {
    closePeerPipe(api, doorbell.inode);
    peerPipe = undefined;
  }
  if (peerPipe === undefined) {
    if (hasExited(threadId)) return false;
    const fd = openPeerPipe(api, threadId, doorbell);
    // It may not be opened, or not yet be there: whoever waits looks by itself from time to time.
    if (fd === undefined) return true;
    peerPipe = { threadId, fd };
    cachePeerPipe(api, doorbell.inode, peerPipe);
  }
  // A full pipe has rung already.
  if (api.libc.write(peerPipe.fd, RING_BYTE, 1) === 1 || api.errno() === EAGAIN) return true;
  closePeerPipe(api, doorbell.inode);
  return !hasExited(threadId);
}

function openDoorbell(): { doorbell: Doorbell; fds: number[] } {
  const api = native();
  const fds = new Int32Array(2);
  if (api === undefined || api.platform !== "linux" || api.libc.pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0)
    return { doorbell: NO_DOORBELL, fds: [] };
  const [readFd, writeFd] = fds as unknown as [number, number];
  const inode = pipeInode(api, `/proc/self/fd/${readFd}`);
  const isWatched = host.watchReadable(readFd, () => {
    for (const listener of [...listeners]) listener();
  });
  if (!isWatched) {
    for (const fd of fds) api.libc.close(fd);
    return { doorbell: NO_DOORBELL, fds: [] }; // whoever waits looks by itself
  }
  // The writing end stays open, or the pipe would end when the first who rang closes theirs.
  return { doorbell: inode === undefined ? NO_DOORBELL : { fd: readFd, inode }, fds: [readFd, writeFd] };
}

function openPeerPipe(api: Native, threadId: number, doorbell: Doorbell): number | undefined {
  const path = `/proc/${tidOf(threadId)}/fd/${doorbell.fd}`;
  if (pipeInode(api, path) !== doorbell.inode) return undefined;
  const fd = api.libc.open(path, O_WRONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return undefined;
  if (pipeInode(api, `/proc/self/fd/${fd}`) === doorbell.inode) return fd;
  api.libc.close(fd);
  return undefined;
}

const linkBuffer = new Uint8Array(64);

/** The lower bits of the number in `pipe:[4711]`. */
function pipeInode({ libc }: Native, path: string): number | undefined {
  const length = libc.readlink(path, linkBuffer, linkBuffer.length);
  const inode = length < 0 ? undefined : /^pipe:\[(\d+)\]$/.exec(host.asciiRead(linkBuffer, 0, length))?.[1];
  return inode === undefined ? undefined : Number(inode) | 0;
}

function cachePeerPipe(api: Native, inode: number, entry: { threadId: number; fd: number }): void {
  peerPipes.set(inode, entry);
  const [oldest] = peerPipes.keys();
  if (peerPipes.size > MAX_OPEN_PIPES) closePeerPipe(api, oldest as number);
}

function closePeerPipe(api: Native, inode: number): void {
  api.libc.close(peerPipes.get(inode)?.fd as number);
  peerPipes.delete(inode);
}
