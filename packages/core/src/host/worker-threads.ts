/** Worker threads of Node, which Deno has too: a thread with a module of its own, and the stream of bytes to it. */
import type { ByteStream, StreamHandlers, Thread, ThreadExit } from "./host.ts";

/** As much of `node:worker_threads` as is used. */
interface WorkerThreads {
  readonly isMainThread: boolean;
  readonly parentPort: Port | null;
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

/** The last message of a thread on a host that does not tell when one has ended by itself; all others are bytes. */
const GOODBYE = null;

/**
 * Starts a thread.
 *
 * @param leaves whether a thread that exits runs its exit hooks, so that what it had said arrives
 */
export function startThread(module: URL, name: string, runsExitHooks: boolean): Thread {
  const worker = new (workerThreads().Worker)(module, { name });
  // What is written while the thread is being started leaves when it listens.
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
      if (message === GOODBYE) finish(0);
    });
  });
  return { id: worker.threadId, stream, exited, terminate: () => void worker.terminate() };
}

/**
 * The stream to who started this thread; undefined in the main thread.
 *
 * @param onExit where the host does not tell that a thread has ended: calls what is run at its end
 */
export function threadStream(onExit?: (run: () => void) => void): ByteStream | undefined {
  const { parentPort } = workerThreads();
  if (parentPort === null) return undefined;
  if (onExit === undefined) return new ThreadStream(parentPort, () => parentPort.close?.());
  onExit(() => parentPort.postMessage(GOODBYE, []));
  return new ThreadStream(parentPort, () => {}); // closing the port would end the thread at once, unheard
}

function workerThreads(): WorkerThreads {
  const { process } = globalThis as unknown as { process: { getBuiltinModule(name: string): unknown } };
  return process.getBuiltinModule("node:worker_threads") as WorkerThreads;
}

function isOutOfMemory(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === "ERR_WORKER_OUT_OF_MEMORY";
}

/** Bytes as messages; each is copied once and then handed over. */
class ThreadStream implements ByteStream {
  readonly pending = 0;
  readonly remote = "";
  readonly #port: Port;
  readonly #close: () => void;
  #handlers: StreamHandlers | undefined;
  #isEnded = false;
  #isDrainScheduled = false;
  #isReferenced = true;
  /** What came while nobody wanted it. */
  #pausedChunks: Uint8Array[] | undefined;

  constructor(port: Port, close: () => void) {
    this.#port = port;
    this.#close = close;
  }

  start(handlers: StreamHandlers): void {
    this.#handlers = handlers;
    this.#port.on("message", (bytes) => {
      if (bytes === GOODBYE) return;
      if (this.#pausedChunks !== undefined) this.#pausedChunks.push(bytes as Uint8Array);
      else if (!this.#isEnded) handlers.data(bytes as Uint8Array);
    });
    this.#port.on("close", () => this.end());
    if (!this.#isReferenced) this.#port.unref?.(); // who listens to a port of Node needs it again
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

  /** The other side is gone, and all that it sent has been delivered. */
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
