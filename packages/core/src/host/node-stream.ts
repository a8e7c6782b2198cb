/** Node's sockets as streams of bytes. */
import type * as Fs from "node:fs";
import type * as Net from "node:net";
import type { ByteStream, ServerHandlers, StreamAddress, StreamHandlers, StreamServer } from "./host.ts";

const builtin = <M>(name: string): M => process.getBuiltinModule(`node:${name}`) as M;

/** Streams and servers that have not been closed. */
export const openHandles: Set<{ readonly _handle?: { readonly fd?: number } | null }> = new Set();

export function noteOpen(made: { once(event: "close", run: () => void): void }): void {
  openHandles.add(made as object);
  made.once("close", () => openHandles.delete(made as object));
}

/** Listens as {@link Host.serve} says. */
export function serve(
  address: StreamAddress,
  backlog: number,
  { accept, listening, failed }: ServerHandlers,
): StreamServer & { readonly isListening: boolean } {
  const server = builtin<typeof Net>("net").createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) =>
    accept(new NodeStream(socket)),
  );
  server.on("error", failed);
  server.on("listening", () => {
    const at = server.address();
    listening(typeof at === "object" && at !== null ? { host: at.address, port: at.port } : address);
  });
  noteOpen(server);
  // Exclusive: a cluster worker would ask its primary, later; this way a socket's file is there when the call returns.
  server.listen({ ...(typeof address === "string" ? { path: address } : address), exclusive: true, backlog });
  server.unref();
  if (typeof address === "string" && server.listening) builtin<typeof Fs>("fs").chmodSync(address, 0o600);
  return {
    isListening: server.listening,
    close: () => void server.close(),
    ref: () => void server.ref(),
    unref: () => void server.unref(),
  };
}

/** Connects as {@link Host.connect} says. */
export function connect(address: StreamAddress, signal?: AbortSignal): Promise<ByteStream> {
  const to = typeof address === "string" ? { path: address } : { ...address, noDelay: true };
  const socket = builtin<typeof Net>("net").connect({
    ...to,
    allowHalfOpen: true,
    ...(signal === undefined ? {} : { signal }),
  });
  return new Promise((resolve, reject) => {
    socket.once("error", reject);
    socket.once("connect", () => {
      socket.off("error", reject);
      resolve(new NodeStream(socket));
    });
  });
}

class NodeStream implements ByteStream {
  readonly remote: StreamAddress;
  readonly #socket: Net.Socket;
  #handlers: StreamHandlers | undefined;
  #error: Error | undefined;
  /** Whether nobody reads what is written here any more. */
  #isBroken = false;

  constructor(socket: Net.Socket) {
    this.#socket = socket;
    const { remoteAddress: host, remotePort: port } = socket;
    this.remote = host === undefined || port === undefined ? "" : { host, port };
    noteOpen(socket);
    // Who closed its side may have sent something before: a write that fails must not keep it from being read.
    const { _readableState, _writableState } = socket as unknown as Record<string, { autoDestroy: boolean }>;
    for (const state of [_readableState, _writableState]) if (state !== undefined) state.autoDestroy = false;
    socket.on("error", (error) => {
      if (socket.destroyed) this.#error = error;
      else this.#break();
    });
  }

  get pending(): number {
    return this.#isBroken ? 0 : this.#socket.writableLength;
  }

  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    const socket = this.#socket;
    let ended = false;
    const end = (): void => {
      if (ended) return;
      ended = true;
      handlers.end(this.#error);
    };
    // A plain view: the methods of a Buffer differ, and its slice() would share the memory.
    socket.on("data", (chunk: Uint8Array) =>
      handlers.data(new Uint8Array(chunk.buffer, chunk.byteOffset, chunk.length)),
    );
    socket.on("end", end);
    socket.on("close", end);
    if (socket.destroyed) end();
    else socket.resume();
  }

  write(chunk: Uint8Array): number {
    if (this.#isBroken) return 0;
    this.#socket.write(chunk, this.#written);
    return this.#socket.writableLength;
  }

  pause(): void {
    this.#socket.pause();
  }

  resume(): void {
    this.#socket.resume();
  }

  finish(): void {
    if (this.#isBroken) this.#socket.destroy();
    else this.#socket.end(() => this.#socket.destroy());
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

  #break(): void {
    this.#isBroken = true;
    this.#handlers?.drain();
    // With its other half ended too, nothing would close it.
    if (this.#socket.readableEnded) this.#socket.destroy();
  }

  readonly #written = (): void => {
    if (this.#socket.writableLength === 0) this.#handlers?.drain();
  };
}
