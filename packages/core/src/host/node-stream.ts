/**
 * Streams and servers over the sockets of `node:net`. The Deno adapter uses them for adopted
 * descriptors.
 */
import type * as Fs from "node:fs";
import type * as Net from "node:net";
import { builtin } from "./builtin-module.ts";
import type { ByteStream, ServerHandlers, StreamAddress, StreamHandlers, StreamServer } from "./host.ts";

/**
 * `readNow()` reads about this much at most. That is more than the system buffers, so only a peer
 * that keeps writing reaches the limit.
 */
const READ_NOW_MAX_BYTES = 1024 * 1024;

/** Options for a socket over a descriptor. It does not read before `resume()`. */
export const FD_SOCKET_OPTIONS = { readable: true, writable: true, allowHalfOpen: true, pauseOnCreate: true } as const;

/** Sockets, servers and pipes that are open. */
export const openHandles: Set<{ readonly _handle?: { readonly fd?: number } | null }> = new Set();

/** Keeps the handle in {@link openHandles} until it is closed. */
export function trackHandle(handle: { once(event: "close", run: () => void): void }): void {
  openHandles.add(handle as object);
  handle.once("close", () => openHandles.delete(handle as object));
}

/** Listens, see `Host.serve()`. */
export function serve(
  address: StreamAddress,
  { accept, listening, failed }: ServerHandlers,
): StreamServer & { readonly isListening: boolean } {
  const server = builtin<typeof Net>("net").createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    accept(new NodeStream(socket)),
  );
  server.on("error", failed);
  server.on("listening", () => {
    const boundAddress = server.address();
    listening(
      typeof boundAddress === "object" && boundAddress !== null
        ? { host: boundAddress.address, port: boundAddress.port }
        : address,
    );
  });
  trackHandle(server);
  // Without `exclusive`, a cluster worker asks its primary process to listen, and waits. With
  // `exclusive`, the file of the socket exists when this call returns.
  server.listen({ ...(typeof address === "string" ? { path: address } : address), exclusive: true });
  server.unref();
  if (typeof address === "string" && server.listening) builtin<typeof Fs>("fs").chmodSync(address, 0o600);
  return {
    isListening: server.listening,
    close: () => void server.close(),
    ref: () => void server.ref(),
    unref: () => void server.unref(),
  };
}

/** Connects, see `Host.connect()`. */
export function connect(address: StreamAddress, signal?: AbortSignal): Promise<ByteStream> {
  return new Promise((resolve, reject) => {
    const target = typeof address === "string" ? { path: address } : { ...address, noDelay: true };
    const socket = builtin<typeof Net>("net").connect({
      ...target,
      allowHalfOpen: true,
      ...(signal === undefined ? {} : { signal }),
    });
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new NodeStream(socket));
    });
  });
}

/** The methods that implement writing in a stream of Node. Their last argument is the callback. */
interface WritableHooks {
  _write(chunk: unknown, ...rest: unknown[]): void;
  _writev(chunks: unknown, ...rest: unknown[]): void;
}

/** A stream over a socket of Node. */
export class NodeStream implements ByteStream {
  readonly remote: StreamAddress;
  readonly #socket: Net.Socket;
  readonly #fd: number | undefined;
  #handlers: StreamHandlers | undefined;
  #error: Error | undefined;
  /** Whether a write has failed. The peer is gone, but bytes that it sent may still be unread. */
  #isPeerClosed = false;

  /** @param fd the descriptor, if the socket does not reveal it */
  constructor(socket: Net.Socket, fd?: number) {
    this.#socket = socket;
    this.#fd = fd;
    const { remoteAddress: host, remotePort: port } = socket;
    this.remote = host === undefined || port === undefined ? "" : { host, port };
    this.#keepReadableOnWriteError();
    trackHandle(socket);
    socket.on("error", (error) => {
      this.#error = error;
    });
  }

  get pending(): number {
    return this.#socket.writableLength;
  }

  get fd(): number | undefined {
    if (this.#fd !== undefined) return this.#socket.destroyed ? undefined : this.#fd;
    const fd = (this.#socket as { readonly _handle?: { readonly fd?: number } | null })._handle?.fd ?? -1;
    return fd < 0 ? undefined : fd;
  }

  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    const socket = this.#socket;
    let hasEnded = false;
    const end = (): void => {
      if (hasEnded) return;
      hasEnded = true;
      handlers.end(this.#error);
    };
    // A plain Uint8Array: the methods of a Buffer differ, and its slice() shares the memory.
    socket.on("data", (chunk: Uint8Array) =>
      handlers.data(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length)),
    );
    socket.on("end", end);
    socket.on("close", end);
    if (socket.destroyed) end();
    else socket.resume();
  }

  write(chunk: Uint8Array): number {
    if (this.#isPeerClosed) return 0;
    this.#socket.write(chunk, this.#onWritten);
    return this.#socket.writableLength;
  }

  pause(): void {
    if (!this.#isPeerClosed) this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  finish(): void {
    this.#socket.end(() => this.#socket.destroy());
  }

  destroy(): void {
    this.#socket.destroy();
  }

  ref(): void {
    this.#socket.ref();
  }

  unref(): void {
    this.#socket.unref();
  }

  readNow(): void {
    while (this.#socket.read() !== null); // delivers what Node has read already, by the "data" event
    const { fd } = this;
    const buffer = new Uint8Array(64 * 1024);
    try {
      for (let remainingBytes = READ_NOW_MAX_BYTES; fd !== undefined && remainingBytes > 0; ) {
        const count = builtin<typeof Fs>("fs").readSync(fd, buffer);
        if (count === 0) return;
        remainingBytes -= count;
        this.#handlers?.data(buffer.slice(0, count));
      }
    } catch {} // there is nothing more to read now
  }

  readonly #onWritten = (): void => {
    // After a failed write there is no drain: the end of the stream follows, and settles the
    // waiting callers.
    const { destroyed, writableLength } = this.#socket;
    if (!this.#isPeerClosed && !destroyed && writableLength === 0) this.#handlers?.drain();
  };

  /**
   * Hides failed writes from Node, which would destroy the socket with everything that could still
   * be read.
   */
  #keepReadableOnWriteError(): void {
    const socket = this.#socket as Net.Socket & WritableHooks;
    for (const name of ["_write", "_writev"] as const) {
      const write = socket[name];
      socket[name] = (chunks: unknown, ...rest: unknown[]) => {
        const done = rest.at(-1) as (error?: Error | null) => void;
        write.call(socket, chunks, ...rest.slice(0, -1), (error?: Error | null) => {
          if (error != null) this.#drainThenEnd();
          done();
        });
      };
    }
  }

  /**
   * Reads to the end of the stream, even if the reader has paused. Node reports the end only then.
   */
  #drainThenEnd(): void {
    this.#isPeerClosed = true;
    if (this.#handlers !== undefined) this.#socket.resume();
  }
}
