/**
 * A child that was forked before anybody asked for it: it has done what every child does first, and waits in a read for what it
 * shall be. So who asks need not wait for the fork.
 */
import type { Native } from "@multiproc/core/internal";
import { type ForkRequest, LineReader } from "./protocol.ts";

/** What a pipe takes at once, so that the server never waits for a child to read. */
const PIPE_CAPACITY_BYTES = 65_536;
const CHUNK_BYTES = 65_536;

/** The server's side. */
export class PreforkedChild {
  readonly pid: number;
  /** Readable when it has ended; -1 where the system has no such thing. */
  readonly pidfd: number;
  /** Where it reads what it shall be. */
  readonly pipeFd: number;
  readonly #native: Native;

  constructor(native: Native, pid: number, pidfd: number, pipeFd: number) {
    this.#native = native;
    this.pid = pid;
    this.pidfd = pidfd;
    this.pipeFd = pipeFd;
    // In a group of its own no Ctrl+C reaches it, which would wait there for the child that it becomes.
    native.libc.setpgid(pid, pid);
  }

  /** Makes it the child that is asked for; false if it cannot be, because it has ended or the request is too long. */
  assign(request: ForkRequest): boolean {
    const { libc } = this.#native;
    const bytes = new TextEncoder().encode(`${JSON.stringify(request)}\n`);
    if (bytes.length > PIPE_CAPACITY_BYTES) return false;
    libc.setpgid(this.pid, libc.getpgrp());
    if (libc.write(this.pipeFd, bytes, bytes.length) !== bytes.length) return false;
    libc.close(this.pipeFd);
    return true;
  }
}

/** In the child: waits for what it shall be, without the event loop; ends it if the server is gone. */
export function awaitRequest({ libc }: Native, pipeFd: number): ForkRequest {
  const lines = new LineReader();
  const chunk = new Uint8Array(CHUNK_BYTES);
  for (;;) {
    const length = libc.read(pipeFd, chunk, CHUNK_BYTES);
    if (length <= 0) libc._exit(0);
    const [request] = lines.push(chunk.subarray(0, length));
    if (request === undefined) continue;
    libc.close(pipeFd);
    return request as ForkRequest;
  }
}
