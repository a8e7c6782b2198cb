/**
 * Doorbells wake the event loop of another process after a change in shared memory.
 *
 * Each waiting thread has one *doorbell*: an anonymous pipe. Its event loop watches the reading
 * end. The thread writes its thread id, and the descriptor and inode of the pipe, into shared
 * memory. To ring, another thread opens the pipe through `/proc/<tid>/fd` and writes a byte. It
 * keeps the pipe open for later rings.
 *
 * A pipe has no name and leaves nothing behind. Watching it does not occupy a thread of the thread
 * pool and does not keep the program alive. A ring is only a hint that something may have changed,
 * so every listener checks again.
 */

import { host } from "../host/mod.ts";
import { EAGAIN, O_CLOEXEC, O_NONBLOCK, O_WRONLY } from "../native/linux.ts";
import { type Native, native } from "../native/mod.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { hasExited, tidOf } from "./thread-id.ts";

/** The address of a doorbell, for threads that ring it. */
export interface Doorbell {
  /** The descriptor of the pipe in the process that listens; -1 if the doorbell cannot be rung. */
  readonly fd: number;
  /**
   * The lower 32 bits of the pipe's inode. It shows whether the descriptor was reused for another
   * file.
   */
  readonly inode: number;
}

const NO_DOORBELL: Doorbell = { fd: -1, inode: 0 };
/** The most pipes of other threads that stay open. At the limit, the oldest is closed. */
const MAX_OPEN_PIPES = 256;
const RING_BYTE = new Uint8Array([1]);

let ownPipe: { readonly doorbell: Doorbell; readonly fds: readonly number[] } | undefined;
const listeners = new Set<() => void>();
/** Open pipes of other threads, by inode. */
const peerPipes = new Map<number, { readonly threadId: number; readonly fd: number }>();

afterForkInChild(() => {
  // `detach-inherited.ts` has already replaced the inherited reading end. The child therefore
  // cannot read rings that are meant for its parent.
  const [, writeFd] = ownPipe?.fds ?? [];
  if (writeFd !== undefined) native()?.libc.close(writeFd);
  ownPipe = undefined;
  listeners.clear();
});

/** Returns the doorbell of this thread. The first call opens it. */
export function ownDoorbell(): Doorbell {
  ownPipe ??= openDoorbell();
  return ownPipe.doorbell;
}

/**
 * Calls `listener` whenever this thread's doorbell rings, until the returned function is called.
 */
export function onRing(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/**
 * Rings the doorbell of another thread.
 *
 * @returns false if that thread has exited
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
    // The pipe cannot be opened, or is closed. The waiting thread also checks by timer.
    if (fd === undefined) return true;
    peerPipe = { threadId, fd };
    cachePeerPipe(api, doorbell.inode, peerPipe);
  }
  // EAGAIN: the pipe is full of rings that the thread has not read yet.
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
    return { doorbell: NO_DOORBELL, fds: [] }; // this thread checks by timer
  }
  // This thread keeps a writing end too. Otherwise the reading end would report end-of-file when
  // the last thread that rang closes its writing end.
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

/**
 * Returns the lower 32 bits of the inode of a pipe. The link of its descriptor reads `pipe:[4711]`.
 */
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
