/** What workers run in: processes, or threads of this one. */
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

/** In the build, all files of the package lie in one folder. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const WORKER_URL = new URL(IS_SOURCE ? "../worker.ts" : "./worker.js", import.meta.url);
const THREAD_URL = new URL(IS_SOURCE ? "../thread.ts" : "./thread.js", import.meta.url);
const { work } = fromModule<{ work(address: EndpointAddress): Promise<void> }>(WORKER_URL);
childModules.add(WORKER_URL.href);

/** How a worker is started. */
export type WorkerOptions = Omit<
  ProcessOptions<[EndpointAddress]>,
  "target" | "args" | "daemon" | "signal" | "name" | "stdio"
> & {
  readonly name: string;
  /** What becomes of what it writes. */
  readonly output: PoolOutput | undefined;
};

/** How a worker ended. */
export interface WorkerExit {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** What it did not catch, if that is known. */
  readonly error?: unknown;
  /** What it last wrote to standard error, as far as that is known. */
  readonly stderrTail?: string;
  /** Whether all that it had said has arrived for certain. */
  readonly complete: boolean;
}

/** What a worker runs in. */
export interface WorkerBackend {
  readonly name: string;
  /** The process, or the thread; undefined before it has been started. */
  readonly id: number | undefined;
  /**
   * Starts it; settles when it has ended.
   *
   * @param opened called once, with the channel to it
   * @throws {StartError} if it cannot be started
   */
  run(onOpen: (channel: Channel) => void): Promise<WorkerExit>;
  /** Asks it to end, where there is a way to ask. */
  terminate(): void;
  /** Ends it. */
  kill(): void;
}

/** Makes what a worker runs in. */
export type WorkerFactory = (options: WorkerOptions) => WorkerBackend;

/** A process. */
export class ProcessWorker implements WorkerBackend {
  readonly name: string;
  readonly #options: WorkerOptions;
  /** Ends a start that is under way. */
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
    const { signal: abort } = this.#startController;
    const { output: mode, ...options } = this.#options;
    const output = new WorkerOutput(this.name, () => this.id ?? 0, mode);
    try {
      const process = new Process({
        ...options,
        stdio: { stdout: output.stdout, stderr: output.stderr },
        target: work,
        args: [address],
        daemon: true,
        signal: abort,
      });
      this.#process = process;
      await process.start();
      if (abort.aborted) process.kill();
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
    if (this.id === undefined) this.#startController.abort(new StartError(`${this.name} is not needed any more`));
    else this.#process?.kill();
  }
}

/** A thread of this process. */
export class ThreadWorker implements WorkerBackend {
  readonly name: string;
  #thread: Thread | undefined;
  /** Settles when the thread need not be waited for any more. */
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
    // One that never comes to rest goes on where it cannot be ended; nobody listens to it any more.
    if (!host.capabilities.threadKill) this.#stopWaiting({ code: 1, error: undefined, complete: false });
  }
}
