import type { DenoAddress, DenoApi, DenoConn, DenoListener } from "./deno-api.ts";
import type { ByteSource, ByteStream, ServerHandlers, StreamAddress, StreamHandlers, StreamServer } from "./host.ts";

const MIN_READ_BYTES = 512;
const MAX_READ_BYTES = 256 * 1024;
/** Pieces that are waiting are written together up to this size. */
const MAX_WRITE_BYTES = 64 * 1024;
/** How long a server rests when it cannot take a connection, such as for want of file descriptors. */
const ACCEPT_RETRY_MS = 20;

/** A server over a listener of Deno's own API; the constructor throws where it cannot listen. */
export class DenoServer implements StreamServer {
  readonly address: StreamAddress;
  readonly #deno: DenoApi;
  readonly #listener: DenoListener;
  #isClosed = false;

  constructor(deno: DenoApi, address: StreamAddress, handlers: ServerHandlers) {
    const isPath = typeof address === "string";
    this.#deno = deno;
    this.#listener = deno.listen(denoAddress(address) as never);
    this.address = isPath ? address : toStreamAddress(this.#listener.addr);
    if (isPath) deno.chmodSync(address, 0o600);
    this.#listener.unref();
    void this.#serve(handlers);
  }

  async #serve({ accept, failed }: ServerHandlers): Promise<void> {
    while (!this.#isClosed) {
      let conn: DenoConn;
      try {
        conn = await this.#listener.accept();
      } catch (error) {
        if (this.#isClosed) return;
        if ((error as Error).name === "BadResource") return failed(error as Error);
        // Others wait behind whoever could not be taken.
        await new Promise<void>((resolve) => unrefTimer(this.#deno, setTimeout(resolve, ACCEPT_RETRY_MS)));
        continue;
      }
      if (!this.#isClosed) accept(new DenoStream(conn));
      else conn.close();
    }
  }

  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#listener.close();
    if (typeof this.address !== "string") return;
    try {
      this.#deno.removeSync(this.address, { recursive: false });
    } catch {} // somebody has removed it before
  }

  ref(): void {
    if (!this.#isClosed) this.#listener.ref();
  }

  unref(): void {
    if (!this.#isClosed) this.#listener.unref();
  }
}

/** Lets a program end before the timer is due. In packages of npm, Denos up to 2.7 have Node's timers, and else numbers. */
export function unrefTimer(deno: DenoApi, timer: unknown): void {
  if (typeof timer === "object") (timer as { unref(): void }).unref();
  else deno.unrefTimer(timer as number);
}

/** An address as Deno takes it. */
export function denoAddress(address: StreamAddress): DenoAddress {
  return typeof address === "string"
    ? { transport: "unix", path: address }
    : { transport: "tcp", hostname: address.host, port: address.port };
}

/** Deno's address as ours; an empty path where there is none. */
function toStreamAddress(address: DenoConn["remoteAddr"]): StreamAddress {
  return "port" in address ? { host: address.hostname, port: address.port } : "";
}

/** A stream over a connection of Deno's own API. */
export class DenoStream implements ByteStream {
  readonly remote: StreamAddress;
  pending = 0;
  readonly #conn: DenoConn;
  readonly #queue: Uint8Array[] = [];
  #handlers: StreamHandlers | undefined;
  #isWriting = false;
  #isFinishing = false;
  #isClosed = false;
  #hasEnded = false;
  /** A write has failed: the other side is gone, but what it sent before may still be there to be read. */
  #isPeerClosed = false;
  #onResume: (() => void) | undefined;
  #pausePromise: Promise<void> | undefined;

  constructor(conn: DenoConn) {
    this.#conn = conn;
    this.remote = toStreamAddress(conn.remoteAddr);
    conn.setNoDelay?.();
  }

  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    this.#read(handlers).then(
      () => this.#end(),
      (error: Error) => this.#end(this.#isClosed ? undefined : error),
    );
  }

  write(chunk: Uint8Array): number {
    if (this.#isClosed || this.#isPeerClosed) return 0;
    this.pending += chunk.byteLength;
    this.#queue.push(chunk);
    if (!this.#isWriting) void this.#drain();
    return this.pending;
  }

  pause(): void {
    if (this.#isPeerClosed) return;
    this.#pausePromise ??= new Promise((resolve) => {
      this.#onResume = resolve;
    });
  }

  resume(): void {
    this.#onResume?.();
    this.#pausePromise = this.#onResume = undefined;
  }

  finish(): void {
    this.#isFinishing = true;
    if (!this.#isWriting) this.destroy();
  }

  destroy(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#queue.length = this.pending = 0;
    this.resume();
    try {
      this.#conn.close();
    } catch {} // the resource is gone already
    queueMicrotask(() => this.#end());
  }

  ref(): void {
    if (!this.#isClosed) this.#conn.ref();
  }

  unref(): void {
    if (!this.#isClosed) this.#conn.unref();
  }

  /**
   * Large pieces are read to where they belong. Otherwise, a read that fills most of its buffer hands it over, a smaller one is copied out of it, so that chunks are never written to
   * again. The buffer is as large as what has come of late: most of many open streams carry little.
   */
  async #read(handlers: StreamHandlers): Promise<void> {
    let buffer = new Uint8Array(MIN_READ_BYTES);
    while (true) {
      const directBuffer = handlers.directBuffer?.();
      const n = await this.#conn.read(directBuffer ?? buffer);
      while (this.#pausePromise !== undefined) await this.#pausePromise;
      if (n === null || this.#isClosed) return;
      if (directBuffer !== undefined) {
        handlers.filled?.(n);
        continue;
      }
      if (n < buffer.length / 4) {
        handlers.data(buffer.slice(0, n));
        continue;
      }
      const full = buffer;
      const { length } = full;
      const next = n === length ? length * 4 : n < length / 2 ? length / 2 : length;
      buffer = new Uint8Array(Math.min(next, MAX_READ_BYTES));
      handlers.data(full.subarray(0, n));
    }
  }

  async #drain(): Promise<void> {
    this.#isWriting = true;
    try {
      while (this.#queue.length > 0) {
        const chunk = this.#coalesceChunks();
        for (let done = 0; done < chunk.byteLength; ) {
          const n = await this.#conn.write(done === 0 ? chunk : chunk.subarray(done));
          done += n;
          this.pending -= n;
        }
      }
    } catch {
      this.#drainThenEnd();
    } finally {
      this.#isWriting = false;
    }
    // What nobody read is not written: who waits for that learns of the end, which comes next.
    if (!this.#isClosed && !this.#isPeerClosed) this.#handlers?.drain();
    if (this.#isFinishing) this.destroy();
  }

  /** Reads what there is, to its end, whether anybody waits for it: that is how the other side's end is found. */
  #drainThenEnd(): void {
    this.#isPeerClosed = true;
    this.#queue.length = this.pending = 0;
    this.resume();
  }

  /** The next piece to write: small ones together, since each write takes a turn of the loop. */
  #coalesceChunks(): Uint8Array {
    const queue = this.#queue;
    const first = queue.shift() as Uint8Array;
    let size = first.length;
    let count = 0;
    while (count < queue.length && size + (queue[count] as Uint8Array).length <= MAX_WRITE_BYTES)
      size += (queue[count++] as Uint8Array).length;
    if (count === 0) return first;
    const all = new Uint8Array(size);
    all.set(first);
    let at = first.length;
    for (const chunk of queue.splice(0, count)) {
      all.set(chunk, at);
      at += chunk.length;
    }
    return all;
  }

  #end(error?: Error): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#handlers?.end(error);
  }
}

/** What a child writes; whether the program stays alive for it is up to the child. */
export class DenoSource implements ByteSource {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #onResume: (() => void) | undefined;
  #isPaused = false;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
  }

  start(handlers: StreamHandlers): void {
    void this.#read(handlers);
  }

  pause(): void {
    this.#isPaused = true;
  }

  resume(): void {
    this.#isPaused = false;
    this.#onResume?.();
  }

  destroy(): void {
    this.#reader.cancel().catch(() => {});
  }

  ref(): void {}

  unref(): void {}

  async #read(handlers: StreamHandlers): Promise<void> {
    try {
      for (;;) {
        if (this.#isPaused) await new Promise<void>((resolve) => (this.#onResume = resolve));
        const { value } = await this.#reader.read();
        if (value === undefined) break;
        handlers.data(value);
      }
    } catch {} // it broke, and that is its end
    handlers.end();
  }
}
