/**
 * A *preforked child*: forked before a client requests it, so that the client does not wait for the
 * fork.
 *
 * The child has run the first steps of every child, and blocks in a read of a pipe until the server
 * writes the request.
 */
import type { Native } from "@multiproc/core/internal";
import { type ForkRequest, LineReader } from "./protocol.ts";

/**
 * The capacity of a pipe on Linux. A longer request could block the server until the child reads.
 */
const PIPE_CAPACITY_BYTES = 65_536;
const CHUNK_BYTES = 65_536;

/** A preforked child in the server. */
export class PreforkedChild {
  readonly pid: number;
  /** A descriptor that is readable once the child has ended; -1 on systems without pidfds. */
  readonly pidfd: number;
  /** The end of the pipe that the server writes to. */
  readonly pipeFd: number;
  readonly #native: Native;

  constructor(native: Native, pid: number, pidfd: number, pipeFd: number) {
    this.#native = native;
    this.pid = pid;
    this.pidfd = pidfd;
    this.pipeFd = pipeFd;
    // A process group of its own keeps Ctrl+C away. SIGINT is blocked in the child, and would stay
    // pending until the child has a request.
    native.libc.setpgid(pid, pid);
  }

  /** Sends the request to the child; false if the child has ended, or the request is too long. */
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

/**
 * Waits for the request, in the child, without the event loop. Ends the child if the server has
 * ended.
 */
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
