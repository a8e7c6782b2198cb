/**
 * A child that was forked before anybody asked for it: it has done what every child does first, and waits in a read for what it
 * shall be. So who asks need not wait for the fork.
 */
import type { Native } from "@multiproc/core/internal";
import { type ForkRequest, LineReader } from "./protocol.ts";

/** What a pipe takes at once, so that the server never waits for a child to read. */
const PIPE_SIZE = 65_536;
const CHUNK = 65_536;

/** The server's side. */
export class Standby {
  readonly pid: number;
  /** Readable when it has ended; -1 where the system has no such thing. */
  readonly pidfd: number;
  /** Where it reads what it shall be. */
  readonly pipe: number;
  readonly #native: Native;

  constructor(native: Native, pid: number, pidfd: number, pipe: number) {
    this.#native = native;
    this.pid = pid;
    this.pidfd = pidfd;
    this.pipe = pipe;
    // In a group of its own no Ctrl+C reaches it, which would wait there for the child that it becomes.
    native.libc.setpgid(pid, pid);
  }

  /** Makes it the child that is asked for; false if it cannot be, because it has ended or the request is too long. */
  become(request: ForkRequest): boolean {
    const { libc } = this.#native;
    const bytes = new TextEncoder().encode(`${JSON.stringify(request)}\n`);
    if (bytes.length > PIPE_SIZE) return false;
    libc.setpgid(this.pid, libc.getpgrp());
    if (libc.write(this.pipe, bytes, bytes.length) !== bytes.length) return false;
    libc.close(this.pipe);
    return true;
  }
}

/** In the child: waits for what it shall be, without the event loop; ends it if the server is gone. */
export function awaitRequest({ libc }: Native, pipe: number): ForkRequest {
  const lines = new LineReader();
  const chunk = new Uint8Array(CHUNK);
  for (;;) {
    const length = libc.read(pipe, chunk, CHUNK);
    if (length <= 0) libc._exit(0);
    const [request] = lines.push(chunk.subarray(0, length));
    if (request === undefined) continue;
    libc.close(pipe);
    return request as ForkRequest;
  }
}
