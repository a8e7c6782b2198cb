/**
 * Worker threads (`node:worker_threads`, on Deno too): a thread that runs a module, and a stream of
 * bytes to it.
 */
import { builtin } from "./builtin-module.ts";
import type { ByteStream, StreamHandlers, Thread, ThreadExit } from "./host.ts";

/** The part of `node:worker_threads` that is used. */
interface WorkerThreads {
  readonly isMainThread: boolean;
  readonly parentPort: Port | null;
  readonly workerData: unknown;
  readonly Worker: new (module: URL, options: object) => NodeWorker;
}

interface Port {
  on(event: "message" | "close", run: (message: unknown) => void): void;
  postMessage(message: unknown, transfer: readonly ArrayBuffer[]): void;
  close?(): void;
  ref?(): void;
  unref?(): void;
}

interface NodeWorker extends Port {
  readonly threadId: number;
  on(event: "message" | "close" | "exit" | "error", run: (message: never) => void): void;
  terminate(): unknown;
}

/**
 * The last message of a thread, on a host that does not report that a thread has exited. All other
 * messages are bytes.
 */
const EXIT_MESSAGE = null;

/**
 * Starts a thread.
 *
 * @param depth the result of {@link threadDepth} in the thread
 * @param runsExitHooks whether an exiting thread runs its exit hooks, so that all its messages
 *   arrive
 */
export function startThread(module: URL, name: string, depth: number, runsExitHooks: boolean): Thread {
  const worker = new (workerThreads().Worker)(module, { name, workerData: depth });
  // The port keeps bytes that are written while the thread starts, until the thread listens.
  const stream = new ThreadStream(worker, () => void worker.terminate());
  stream.unref();
  let error: unknown;
  const exited = new Promise<ThreadExit>((resolve) => {
    worker.on("error", (reason) => void (error ??= reason));
    const finish = (code: number): void => {
      stream.end();
      resolve({ code, error, complete: runsExitHooks && !isOutOfMemory(error) });
    };
    worker.on("exit", finish);
    worker.on("message", (message: unknown) => {
      if (message === EXIT_MESSAGE) finish(0);
    });
  });
  return { id: worker.threadId, stream, exited, terminate: () => void worker.terminate() };
}

/**
 * Returns the stream to the parent thread; undefined in the main thread.
 *
 * @param onExit registers an exit hook, on a host that does not report that a thread has exited
 */
export function threadStream(onExit?: (run: () => void) => void): ByteStream | undefined {
  const { parentPort } = workerThreads();
  if (parentPort === null) return undefined;
  if (onExit === undefined) return new ThreadStream(parentPort, () => parentPort.close?.());
  onExit(() => parentPort.postMessage(EXIT_MESSAGE, []));
  return new ThreadStream(parentPort, () => {}); // closing the port would end the thread before its messages left
}

/** Returns the depth with which {@link startThread} started this thread. */
export function threadDepth(): number {
  return Number(workerThreads().workerData);
}

const workerThreads = (): WorkerThreads => builtin("worker_threads");

function isOutOfMemory(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === "ERR_WORKER_OUT_OF_MEMORY";
}

/** A stream that sends bytes as messages. Each chunk is copied once and then transferred. */
class ThreadStream implements ByteStream {
  readonly pending = 0;
  readonly remote = "";
  readonly #port: Port;
  readonly #close: () => void;
  #handlers: StreamHandlers | undefined;
  #isEnded = false;
  #isDrainScheduled = false;
  #isReferenced = true;
  /** Chunks that arrived while the reader had paused; undefined while it has not. */
  #pausedChunks: Uint8Array[] | undefined;

  constructor(port: Port, close: () => void) {
    this.#port = port;
    this.#close = close;
  }

  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    this.#port.on("message", (bytes) => {
      if (bytes === EXIT_MESSAGE) return;
      if (this.#pausedChunks !== undefined) this.#pausedChunks.push(bytes as Uint8Array);
      else if (!this.#isEnded) handlers.data(bytes as Uint8Array);
    });
    this.#port.on("close", () => this.end());
    if (!this.#isReferenced) this.#port.unref?.(); // a listener makes Node ref the port again
  }

  write(chunk: Uint8Array): number {
    if (this.#isEnded) return 0;
    const bytes = chunk.slice();
    this.#port.postMessage(bytes, [bytes.buffer]);
    this.#drainSoon();
    return 0;
  }

  pause(): void {
    this.#pausedChunks ??= [];
  }

  resume(): void {
    const chunks = this.#pausedChunks ?? [];
    this.#pausedChunks = undefined;
    for (const bytes of chunks) if (!this.#isEnded) this.#handlers?.data(bytes);
  }

  finish(): void {
    this.destroy();
  }

  destroy(): void {
    if (this.#isEnded) return;
    this.#close();
    queueMicrotask(() => this.end());
  }

  /** Ends the stream: the other thread is gone, and everything that it sent was delivered. */
  end(): void {
    if (this.#isEnded) return;
    this.resume();
    this.#isEnded = true;
    this.#handlers?.end();
  }

  ref(): void {
    this.#isReferenced = true;
    this.#port.ref?.();
  }

  unref(): void {
    this.#isReferenced = false;
    this.#port.unref?.();
  }

  #drainSoon(): void {
    if (this.#isDrainScheduled) return;
    this.#isDrainScheduled = true;
    queueMicrotask(() => {
      this.#isDrainScheduled = false;
      if (!this.#isEnded) this.#handlers?.drain();
    });
  }
}
