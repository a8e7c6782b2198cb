/**
 * Unix sockets without the event loop. The fork server has no socket that libuv knows of: a child that inherited one would
 * have to close it, and libuv removes the path of a listening socket when it closes that.
 */
import type { Native } from "@multiproc/core/internal";
import { AF_UNIX, SOCK_CLOEXEC, SOCK_STREAM } from "./linux.ts";

const BACKLOG = 512;
/** `struct sockaddr_un`: the family in two bytes, then the path and a zero. */
const ADDRESS_SIZE = 110;
const PATH_START = 2;

/** Listens at a path, which must be free. */
export function listenAt(native: Native, path: string): number {
  const { libc } = native;
  const file = openSocket(native);
  const [address, length] = addressOf(path);
  if (libc.bind(file, address, length) < 0 || libc.listen(file, BACKLOG) < 0)
    throw failure(native, file, `listen at ${path}`);
  return file;
}

/** Connects to a socket at a path; the file blocks. */
export function connectTo(native: Native, path: string): number {
  const file = openSocket(native);
  if (native.libc.connect(file, ...addressOf(path)) < 0) throw failure(native, file, `connect to ${path}`);
  return file;
}

/** Takes the next connection; undefined if whoever made it is gone again. */
export function acceptFrom(native: Native, listener: number): number | undefined {
  const file = native.libc.accept4(listener, null, null, SOCK_CLOEXEC);
  return file < 0 ? undefined : file;
}

function openSocket(native: Native): number {
  const file = native.libc.socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (file < 0) throw failure(native, undefined, "open a socket");
  return file;
}

function addressOf(path: string): [Uint8Array, number] {
  const bytes = new Uint8Array(ADDRESS_SIZE);
  new DataView(bytes.buffer).setUint16(0, AF_UNIX, true);
  const { written } = new TextEncoder().encodeInto(path, bytes.subarray(PATH_START, ADDRESS_SIZE - 1));
  return [bytes, PATH_START + written + 1];
}

function failure(native: Native, file: number | undefined, what: string): Error {
  const error = native.errno();
  if (file !== undefined) native.libc.close(file);
  return new Error(`Cannot ${what} (errno ${error})`);
}
