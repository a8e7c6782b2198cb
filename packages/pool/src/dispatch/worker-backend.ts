/** What workers run in: processes, or threads of this one. */
import { fromModule, StartError } from "@multiproc/core";
import {
  type Channel,
  childModules,
  host,
  type Invitation,
  invite,
  revoke,
  SocketChannel,
  type Thread,
  type ThreadEnd,
} from "@multiproc/core/internal";
import { Process, type ProcessOptions } from "@multiproc/process";
import { type PoolOutput, WorkerOutput } from "./worker-output.ts";

/** In the build, all files of the package lie in one folder. */
const IS_SOURCE = import.meta.url.endsWith(".ts");
const WORKER = new URL(IS_SOURCE ? "../worker.ts" : "./worker.js", import.meta.url);
const THREAD = new URL(IS_SOURCE ? "../thread.ts" : "./thread.js", import.meta.url);
const { work } = fromModule<{ work(invitation: Invitation): Promise<void> }>(WORKER);
childModules.add(WORKER.href);

/** How a worker is started. */
export type BodyOptions = Omit<
  ProcessOptions<[Invitation]>,
  "target" | "args" | "daemon" | "signal" | "name" | "stdio"
> & {
  readonly name: string;
  /** What becomes of what it writes. */
  readonly output: PoolOutput | undefined;
};

/** How a worker ended. */
export interface BodyEnd {
  readonly exitCode: number | null;
  readonly signal: string | null;
  /** What it did not catch, if that is known. */
  readonly error?: unknown;
  /** What it last wrote to standard error, as far as that is known. */
  readonly lastWords?: string;
  /** Whether all that it had said has arrived for certain. */
  readonly told: boolean;
}

/** What a worker runs in. */
export interface WorkerBody {
  readonly name: string;
  /** The process, or the thread; undefined before it has been started. */
  readonly id: number | undefined;
  /**
   * Starts it; settles when it has ended.
   *
   * @param opened called once, with the channel to it
   * @throws {StartError} if it cannot be started
   */
  live(opened: (channel: Channel) => void): Promise<BodyEnd>;
  /** Asks it to end, where there is a way to ask. */
  terminate(): void;
  /** Ends it. */
  kill(): void;
}

/** Makes what a worker runs in. */
export type BodyMaker = (options: BodyOptions) => WorkerBody;

/** A process. */
export class ProcessBody implements WorkerBody {
  readonly name: string;
  readonly #options: BodyOptions;
  /** Ends a start that is under way. */
  readonly #start = new AbortController();
  #process: Process<[Invitation]> | undefined;

  constructor(options: BodyOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get id(): number | undefined {
    return this.#process?.pid;
  }

  async live(opened: (channel: Channel) => void): Promise<BodyEnd> {
    const invitation = invite(opened);
    const { signal: abort } = this.#start;
    const { output: way, ...options } = this.#options;
    const output = new WorkerOutput(this.name, () => this.id ?? 0, way);
    try {
      const process = new Process({
        ...options,
        stdio: { stdout: output.stdout, stderr: output.stderr },
        target: work,
        args: [invitation],
        daemon: true,
        signal: abort,
      });
      this.#process = process;
      await process.start();
      if (abort.aborted) process.kill();
      await process.sentinel.ended;
      await output.over();
      const { exitCode, signal } = process;
      return { exitCode, signal, lastWords: output.lastWords, told: signal === null };
    } finally {
      revoke(invitation);
    }
  }

  terminate(): void {
    if (this.id === undefined) this.kill();
    else this.#process?.terminate();
  }

  kill(): void {
    if (this.id === undefined) this.#start.abort(new StartError(`${this.name} is not needed any more`));
    else this.#process?.kill();
  }
}

/** A thread of this process. */
export class ThreadBody implements WorkerBody {
  readonly name: string;
  #thread: Thread | undefined;
  /** Settles when the thread need not be waited for any more. */
  #giveUp: (end: ThreadEnd) => void = () => {};

  constructor({ name }: BodyOptions) {
    this.name = name;
  }

  get id(): number | undefined {
    return this.#thread?.id;
  }

  async live(opened: (channel: Channel) => void): Promise<BodyEnd> {
    const thread = host.startThread(THREAD, this.name);
    this.#thread = thread;
    const givenUp = new Promise<ThreadEnd>((resolve) => {
      this.#giveUp = resolve;
    });
    opened(new SocketChannel(thread.stream, { peer: this.name }));
    const { code, error, told } = await Promise.race([thread.exited, givenUp]);
    thread.stream.destroy();
    return { exitCode: code, signal: null, error, told };
  }

  terminate(): void {
    this.kill();
  }

  kill(): void {
    this.#thread?.terminate();
    // One that never comes to rest goes on where it cannot be ended; nobody listens to it any more.
    if (!host.capabilities.threadKill) this.#giveUp({ code: 1, error: undefined, told: false });
  }
}
