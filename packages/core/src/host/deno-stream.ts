/** Streams and servers over Deno's own API. */
import type { DenoAddress, DenoApi, DenoConn, DenoListener } from "./deno-api.ts";
import type { ByteSource, ByteStream, ServerHandlers, StreamAddress, StreamHandlers, StreamServer } from "./host.ts";

/** The first size of the read buffer. It is small, since most open streams carry little. */
const INITIAL_READ_BYTES = 512;
/**
 * The read buffer grows up to this size. A read that fills a quarter to a half of it halves it.
 */
const MAX_READ_BYTES = 256 * 1024;
/** Queued chunks are coalesced into one write up to this size. */
const MAX_WRITE_BYTES = 64 * 1024;
/** Time until the server accepts again after a failure, such as a lack of file descriptors. */
const ACCEPT_RETRY_MS = 20;

/** A server over a listener of Deno. The constructor throws if it cannot listen. */
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
        // The failed connection stays in the backlog, and others wait behind it.
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
    } catch {} // the file was removed before
  }

  ref(): void {
    if (!this.#isClosed) this.#listener.ref();
  }

  unref(): void {
    if (!this.#isClosed) this.#listener.unref();
  }
}

/**
 * Lets the program end before the timer is due. Up to Deno 2.7, code in npm packages gets the
 * timers of Node instead of numbers.
 */
export function unrefTimer(deno: DenoApi, timer: unknown): void {
  if (typeof timer === "object") (timer as { unref(): void }).unref();
  else deno.unrefTimer(timer as number);
}

/** Converts an address to the form of Deno. */
export function denoAddress(address: StreamAddress): DenoAddress {
  return typeof address === "string"
    ? { transport: "unix", path: address }
    : { transport: "tcp", hostname: address.host, port: address.port };
}

/** Converts an address of Deno; returns an empty path if there is none. */
function toStreamAddress(address: DenoConn["remoteAddr"]): StreamAddress {
  return "port" in address ? { host: address.hostname, port: address.port } : "";
}

/** A stream over a connection of Deno. */
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
  /** Whether a write has failed. The peer is gone, but bytes that it sent may still be unread. */
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
   * Reads until the end of the stream.
   *
   * A large part is read straight into its own buffer. Other bytes are read into the read buffer.
   * If they fill a quarter of it, the handler gets the buffer itself, and otherwise a copy. So
   * nothing writes to a delivered chunk again.
   */
  async #read(handlers: StreamHandlers): Promise<void> {
    let buffer = new Uint8Array(INITIAL_READ_BYTES);
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
      buffer = new Uint8Array(Math.max(INITIAL_READ_BYTES, Math.min(next, MAX_READ_BYTES)));
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
    // After a failed write there is no drain: the end of the stream follows, and settles the
    // waiting callers.
    if (!this.#isClosed && !this.#isPeerClosed) this.#handlers?.drain();
    if (this.#isFinishing) this.destroy();
  }

  /**
   * Drops the queue and reads to the end of the stream, even if the reader has paused. Deno reports
   * the end only then.
   */
  #drainThenEnd(): void {
    this.#isPeerClosed = true;
    this.#queue.length = this.pending = 0;
    this.resume();
  }

  /**
   * Takes the next chunk to write. Small ones are coalesced, since each write takes a turn of the
   * event loop.
   */
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
    let offset = first.length;
    for (const chunk of queue.splice(0, count)) {
      all.set(chunk, offset);
      offset += chunk.length;
    }
    return all;
  }

  #end(error?: Error): void {
    if (this.#hasEnded) return;
    this.#hasEnded = true;
    this.#handlers?.end(error);
  }
}

/** The output of a child. The child, not this stream, decides whether the program stays alive. */
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
    } catch {} // a broken pipe ends like a closed one
    handlers.end();
  }
}
