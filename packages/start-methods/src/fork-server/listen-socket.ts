/**
 * Listening Unix sockets without the event loop.
 *
 * The fork server does not listen by libuv. A child would have to close the inherited socket, and
 * libuv then removes the path, which the server still needs.
 */
import { type Native, openSocket, SOCK_CLOEXEC, socketAddress, socketFailure } from "@multiproc/core/internal";

const LISTEN_BACKLOG = 512;

/** Listens at an unused path; returns the descriptor. */
export function listenAt(native: Native, path: string): number {
  const { libc } = native;
  const fd = openSocket(native);
  const [address, length] = socketAddress(path);
  if (libc.bind(fd, address, length) < 0 || libc.listen(fd, LISTEN_BACKLOG) < 0)
    throw socketFailure(native, fd, `listen at ${path}`);
  return fd;
}

/** Accepts the next connection; undefined if the client has disconnected. */
export function acceptFrom(native: Native, listenFd: number): number | undefined {
  const fd = native.libc.accept4(listenFd, null, null, SOCK_CLOEXEC);
  return fd < 0 ? undefined : fd;
}
