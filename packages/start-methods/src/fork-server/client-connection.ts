/** The server side of a connection to a *client*: a process that requests children. */
import type { Native } from "@multiproc/core/internal";
import { MSG_DONTWAIT, MSG_NOSIGNAL } from "@multiproc/core/internal";
import { LineReader, type Reply, type Request, type StartupResult, toLine } from "./protocol.ts";

const CHUNK_BYTES = 65_536;

/** A connection to a client. It does not use the event loop: the server polls the descriptor. */
export class ClientConnection {
  readonly fd: number;
  /** The pids of its running children, by the ids of the requests. */
  readonly childPids: Map<number, number> = new Map();
  readonly #native: Native;
  readonly #lines = new LineReader();
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #queued: Uint8Array[] = [];

  constructor(native: Native, fd: number) {
    this.#native = native;
    this.fd = fd;
  }

  /** Whether replies wait until the client reads. */
  get hasBacklog(): boolean {
    return this.#queued.length > 0;
  }

  /**
   * Returns the requests that have arrived; undefined if the client has closed. Blocks if the
   * descriptor is not readable.
   */
  read(): Request[] | undefined {
    const length = this.#native.libc.read(this.fd, this.#chunk, CHUNK_BYTES);
    return length <= 0 ? undefined : (this.#lines.push(this.#chunk.subarray(0, length)) as Request[]);
  }

  /** Sends a reply. It never blocks: a client that does not read must not stop the others. */
  send(message: Reply | StartupResult): void {
    this.#queued.push(toLine(message));
    this.flush();
  }

  /** Writes queued replies until the socket is full. */
  flush(): void {
    while (this.#queued.length > 0) {
      const bytes = this.#queued[0] as Uint8Array;
      const sent = this.#native.libc.send(this.fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) return; // the socket is full, or is closed, which read() reports
      if (sent < bytes.length) this.#queued[0] = bytes.subarray(sent);
      else this.#queued.shift();
    }
  }

  close(): void {
    this.#native.libc.close(this.fd);
  }
}
