/**
 * Unix sockets by system calls: for a thread that is blocked, and for a process without an event
 * loop.
 */
import {
  AF_UNIX,
  EAGAIN,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  POLLERR,
  POLLHUP,
  POLLIN,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
} from "./linux.ts";
import type { Native } from "./native.ts";
import { native } from "./open.ts";

/** Size of `struct sockaddr_un`: the family in two bytes, then the path and a zero. */
const SOCKADDR_BYTES = 110;
const PATH_OFFSET = 2;
/** Time until the next attempt after the backlog was full. */
const RETRY_INTERVAL_MS = 10;

/**
 * Creates a socket that is not connected; returns its descriptor.
 *
 * @throws if the system refuses
 */
export function openSocket(native: Native, flags: number = 0): number {
  const fd = native.libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
  if (fd < 0) throw socketFailure(native, undefined, "open a socket");
  return fd;
}

/**
 * Connects to the socket at a path; returns a blocking descriptor.
 *
 * @throws if no process listens there
 */
export function connectTo(native: Native, path: string): number {
  const fd = openSocket(native);
  if (native.libc.connect(fd, ...socketAddress(path)) < 0) throw socketFailure(native, fd, `connect to ${path}`);
  return fd;
}

/**
 * Connects to the socket at a path. The thread blocks only while the backlog there is full.
 *
 * @param deadline on the clock of `performance`
 * @returns a non-blocking descriptor; undefined after the deadline
 * @throws if no process listens there
 */
export function connectSync(path: string, deadline: number): number | undefined {
  const api = native() as Native;
  const address = socketAddress(path);
  while (true) {
    const fd = openSocket(api, SOCK_NONBLOCK);
    if (api.libc.connect(fd, ...address) === 0) return fd;
    const error = socketFailure(api, fd, `connect to ${path}`);
    if ((error as { code?: string }).code !== "EAGAIN") throw error;
    const remainingMs = deadline - performance.now();
    if (remainingMs <= 0) return undefined;
    api.libc.poll(null, 0, Math.min(remainingMs, RETRY_INTERVAL_MS));
  }
}

/** Returns a path as `struct sockaddr_un`, and its length. */
export function socketAddress(path: string): [Uint8Array, number] {
  const bytes = new Uint8Array(SOCKADDR_BYTES);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  const { written } = new TextEncoder().encodeInto(path, bytes.subarray(PATH_OFFSET, SOCKADDR_BYTES - 1));
  return [bytes, PATH_OFFSET + written + 1];
}

/** Returns an error for the last call, and closes `fd`. */
export function socketFailure(native: Native, fd: number | undefined, action: string): Error {
  const errno = native.errno();
  if (fd !== undefined) native.libc.close(fd);
  return Object.assign(new Error(`Cannot ${action} (errno ${errno})`), {
    errno,
    ...(errno === EAGAIN ? { code: "EAGAIN" } : {}),
  });
}

/** Sends a few bytes without waiting; returns whether the system accepted all of them. */
export function trySend(fd: number, bytes: Uint8Array): boolean {
  const api = native();
  return api !== undefined && api.libc.send(fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL) === bytes.length;
}

/** Whether the peer of a socket is gone. */
export function hasHungUp(fd: number): boolean {
  return (poll(fd, 0, 0) & (POLLHUP | POLLERR)) !== 0;
}

/** Blocks the thread until there is something to read, for `milliseconds` at most. */
export function waitReadable(fd: number, milliseconds: number): void {
  poll(fd, POLLIN, milliseconds);
}

/**
 * Returns the events that poll() reports for a descriptor: `revents` is the upper half of the
 * second word.
 */
function poll(fd: number, events: number, milliseconds: number): number {
  const polled = Int32Array.of(fd, events);
  return (native()?.libc.poll(polled, 1, Math.ceil(milliseconds)) ?? 0) > 0 ? (polled[1] as number) >> 16 : 0;
}
