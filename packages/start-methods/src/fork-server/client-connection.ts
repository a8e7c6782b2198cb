import type { Native } from "@multiproc/core/internal";
import { MSG_DONTWAIT, MSG_NOSIGNAL } from "@multiproc/core/internal";
import { LineReader, type Reply, type Request, type StartupResult, toLine } from "./protocol.ts";

const CHUNK_BYTES = 65_536;

/** A process that asks for children, as the server sees it. */
export class ClientConnection {
  /** The connection. */
  readonly fd: number;
  /** Its children that have not ended: their pids by the ids of the requests. */
  readonly childPids: Map<number, number> = new Map();
  readonly #native: Native;
  readonly #lines = new LineReader();
  readonly #chunk = new Uint8Array(CHUNK_BYTES);
  #queued: Uint8Array[] = [];

  constructor(native: Native, fd: number) {
    this.#native = native;
    this.fd = fd;
  }

  /** Whether replies wait for the other side to read. */
  get hasBacklog(): boolean {
    return this.#queued.length > 0;
  }

  /** The requests that have arrived; undefined when the other side has closed. Only where there is something to read. */
  read(): Request[] | undefined {
    const length = this.#native.libc.read(this.fd, this.#chunk, CHUNK_BYTES);
    return length <= 0 ? undefined : (this.#lines.push(this.#chunk.subarray(0, length)) as Request[]);
  }

  /** Sends a reply. Never waits: one caller that does not read must not stop the others. */
  send(message: Reply | StartupResult): void {
    this.#queued.push(toLine(message));
    this.flush();
  }

  /** Sends what is queued, as far as the system takes it. */
  flush(): void {
    while (this.#queued.length > 0) {
      const bytes = this.#queued[0] as Uint8Array;
      const sent = this.#native.libc.send(this.fd, bytes, bytes.length, MSG_DONTWAIT | MSG_NOSIGNAL);
      if (sent < 0) return; // full, or closed: then there will be an end to read
      if (sent < bytes.length) this.#queued[0] = bytes.subarray(sent);
      else this.#queued.shift();
    }
  }

  close(): void {
    this.#native.libc.close(this.fd);
  }
}
