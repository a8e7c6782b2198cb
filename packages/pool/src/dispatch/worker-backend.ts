/** The backends of workers: a process for `Pool`, a thread of this process for `ThreadPool`. */
import { fromModule, StartError } from "@multiproc/core";
import {
  assertMayStart,
  type Channel,
  childConfig,
  childModules,
  closeEndpoint,
  type EndpointAddress,
  exposeEndpoint,
  host,
  StreamChannel,
  type Thread,
  type ThreadExit,
} from "@multiproc/core/internal";
import { Process, type ProcessOptions } from "@multiproc/process";
import type { PoolOutput } from "../options.ts";
import { WorkerOutput } from "./worker-output.ts";

/** The source files are in several folders. The build puts all of its files into one folder. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const WORKER_URL = new URL(IS_SOURCE ? "../worker.ts" : "./worker.js", import.meta.url);
const THREAD_URL = new URL(IS_SOURCE ? "../thread.ts" : "./thread.js", import.meta.url);
const { work } = fromModule<{ work(address: EndpointAddress): Promise<void> }>(WORKER_URL);
childModules.add(WORKER_URL.href);

/** Options of a worker. */
export type WorkerOptions = Omit<
  ProcessOptions<[EndpointAddress]>,
  "target" | "args" | "daemon" | "signal" | "name" | "stdio"
> & {
  readonly name: string;
  /** Where the output of the worker goes. */
  readonly output: PoolOutput | undefined;
};

/** The end of a worker. */
export interface WorkerExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** Its uncaught error, if that is known. */
  readonly error?: unknown;
  /** The end of its standard error, if the pool reads it. */
  readonly stderrTail?: string;
  /** Whether all messages of the worker are known to have arrived. */
  readonly complete: boolean;
}

/** A process or a thread that runs a worker. */
export interface WorkerBackend {
  readonly name: string;
  /** The process id, or the thread id; undefined before the start. */
  readonly id: number | undefined;
  /**
   * Starts the worker, and waits for its end.
   *
   * @param onOpen called once, with the channel to the worker
   * @throws {StartError} if it cannot start
   */
  run(onOpen: (channel: Channel) => void): Promise<WorkerExit>;
  /** Sends SIGTERM to a worker process. A worker thread is killed instead. */
  terminate(): void;
  /** Kills the worker. */
  kill(): void;
}

/** Creates the backend of a worker. */
export type WorkerFactory = (options: WorkerOptions) => WorkerBackend;

/** A worker process. */
export class ProcessWorker implements WorkerBackend {
  readonly name: string;
  readonly #options: WorkerOptions;
  /** Cancels a start in progress. */
  readonly #startController = new AbortController();
  #process: Process<[EndpointAddress]> | undefined;

  constructor(options: WorkerOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get id(): number | undefined {
    return this.#process?.pid;
  }

  async run(onOpen: (channel: Channel) => void): Promise<WorkerExit> {
    const address = exposeEndpoint(onOpen);
    const { signal: startSignal } = this.#startController;
    const { output: mode, ...options } = this.#options;
    const output = new WorkerOutput(this.name, () => this.id ?? 0, mode);
    try {
      const process = new Process({
        ...options,
        stdio: { stdout: output.stdout, stderr: output.stderr },
        target: work,
        args: [address],
        daemon: true,
        signal: startSignal,
      });
      this.#process = process;
      await process.start();
      if (startSignal.aborted) process.kill();
      await process.sentinel.ended;
      await output.drained();
      const { exitCode, signal } = process;
      return { exitCode, signal, stderrTail: output.stderrTail, complete: signal === null };
    } finally {
      closeEndpoint(address);
    }
  }

  terminate(): void {
    if (this.id === undefined) this.kill();
    else this.#process?.terminate();
  }

  kill(): void {
    if (this.id === undefined)
      this.#startController.abort(
        new StartError(`The start of ${this.name} was cancelled: the pool does not need it any more`),
      );
    else this.#process?.kill();
  }
}

/** A worker thread of this process. */
export class ThreadWorker implements WorkerBackend {
  readonly name: string;
  #thread: Thread | undefined;
  /** Ends the wait for the end of the thread. */
  #stopWaiting: (end: ThreadExit) => void = () => {};

  constructor({ name }: WorkerOptions) {
    this.name = name;
  }

  get id(): number | undefined {
    return this.#thread?.id;
  }

  async run(onOpen: (channel: Channel) => void): Promise<WorkerExit> {
    assertMayStart();
    const thread = host.startThread(THREAD_URL, this.name, childConfig.depth + 1);
    this.#thread = thread;
    const abandoned = new Promise<ThreadExit>((resolve) => {
      this.#stopWaiting = resolve;
    });
    onOpen(new StreamChannel(thread.stream, { peer: this.name }));
    const { code, error, complete } = await Promise.race([thread.exited, abandoned]);
    thread.stream.destroy();
    return { exitCode: code, signal: null, error, complete };
  }

  terminate(): void {
    this.kill();
  }

  kill(): void {
    this.#thread?.terminate();
    // Deno cannot terminate a thread in an endless loop. It keeps running, and its messages are
    // ignored.
    if (!host.capabilities.threadKill) this.#stopWaiting({ code: 1, error: undefined, complete: false });
  }
}
