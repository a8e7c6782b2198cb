/**
 * Unix sockets without the event loop. The fork server has no socket that libuv knows of: a child that inherited one would
 * have to close it, and libuv removes the path of a listening socket when it closes that.
 */
import { type Native, openSocket, SOCK_CLOEXEC, socketAddress, socketFailure } from "@multiproc/core/internal";

const BACKLOG = 512;

/** Listens at a path, which must be free. */
export function listenAt(native: Native, path: string): number {
  const { libc } = native;
  const file = openSocket(native);
  const [address, length] = socketAddress(path);
  if (libc.bind(file, address, length) < 0 || libc.listen(file, BACKLOG) < 0)
    throw socketFailure(native, file, `listen at ${path}`);
  return file;
}

/** Takes the next connection; undefined if whoever made it is gone again. */
export function acceptFrom(native: Native, listener: number): number | undefined {
  const file = native.libc.accept4(listener, null, null, SOCK_CLOEXEC);
  return file < 0 ? undefined : file;
}
