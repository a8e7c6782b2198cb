import { ProcessError, TargetError } from "@multiproc/core";
import {
  checkWaitOptions,
  childConfig,
  type EncodedMessage,
  type ExitStatus,
  encodeMessage,
  host,
  registry,
  requireTarget,
  TIMED_OUT,
  textMessage,
  type WaitOptions,
  withTimeout,
} from "@multiproc/core/internal";
import { type Child, getStartMethod, requireStartMethod, start } from "@multiproc/start-methods";
import { entryUrl, LAZY_MODULES } from "./entry-url.ts";
import { ForkTransfer, localTarget } from "./fork-transfer.ts";
import { checkProcessOptions, type ProcessOptions } from "./options.ts";
import type { PreparationData } from "./preparation-data.ts";
import { assertMayHaveChildren, nextIdentity, processTree, treeAuthKey } from "./process-tree.ts";
import { Sentinel } from "./sentinel.ts";

/**
 * A function that runs in a process of its own.
 *
 * @typeParam A the arguments of the target
 *
 * @example Start a process and wait for it
 * ```ts
 * // file: tasks.ts
 * import { task } from "@multiproc/core";
 *
 * export const greet = task(import.meta.url, function greet(name: string) {
 *   console.log(`Hello, ${name}`);
 * });
 * // file: main.ts
 * import { Process } from "@multiproc/process";
 * import { greet } from "./tasks.ts";
 *
 * const child = new Process({ target: greet, args: ["Ada"] });
 * await child.start();
 * console.log(await child.join()); // 0
 * ```
 */
export class Process<A extends unknown[] = unknown[]> {
  readonly #options: ProcessOptions<A> & { readonly args?: A | undefined };
  readonly #identity: readonly number[];
  #name: string;
  #daemon: boolean;
  #authKey: Uint8Array | undefined;
  #state: "initial" | "starting" | "started" | "closed" = "initial";
  #child: Child | undefined;
  #sentinel: Sentinel | undefined;
  /** What is called in a copy, where the target only names it. */
  #localTarget: ((...args: A) => unknown) | undefined;
  #ended: Promise<ExitStatus> | undefined;
  #status: ExitStatus | undefined;
  /** The process that made this object; in a copy of it, only the copy that it stands for has a use for it. */
  readonly #ownerPid: number = host.pid;

  /**
   * Describes a process; nothing is started yet.
   *
   * @param options what the child does, and how it is started
   * @throws {TargetError} if another process could not find the target
   * @throws {TypeError} for options of the wrong type
   */
  constructor(options: ProcessOptions<A> = {} as ProcessOptions<A>) {
    checkProcessOptions(options);
    this.#options = options;
    this.#identity = nextIdentity();
    this.#name = options.name ?? `Process-${this.#identity.join(":")}`;
    this.#daemon = options.daemon ?? processTree.self.daemon;
  }

  /**
   * What the child does: calls the target with its arguments. A subclass overrides this; its own fields travel with it, and
   * it is registered with `registerClass(import.meta.url, TheClass)`.
   */
  run(): unknown {
    return (this.#localTarget ?? this.#options.target)?.(...((this.#options.args ?? []) as A));
  }

  /**
   * Starts the child; settles when it is up and has received its work. Several are started at once by
   * `await Promise.all(processes.map((process) => process.start()))`.
   *
   * @throws {ProcessError} if it was started before, was closed, or may not be started here
   * @throws {SendError} if an argument cannot be sent; nothing was started then
   * @throws {StartError} if the child cannot be started, or ends before it is ready
   */
  async start(): Promise<void> {
    this.#assertUsable("start()");
    if (this.#state !== "initial") {
      throw new ProcessError(`start() has been called on ${this.#name} before: make a new Process for each start`, {
        code: "ERR_STARTED",
      });
    }
    assertMayHaveChildren();
    const method = this.#options.startMethod ?? getStartMethod();
    requireStartMethod(method);
    const { messages, modules } = method === "fork" ? this.#startForkPayload() : this.#startPayload();
    this.#state = "starting";
    try {
      const { env, cwd, stdio, execArgv, permissions, signal } = this.#options;
      this.#trackChild(
        await start({
          method,
          name: this.#name,
          entry: entryUrl(),
          messages,
          modules,
          env,
          cwd,
          ...(typeof stdio === "object" ? stdio : { stdout: stdio, stderr: stdio }),
          execArgv,
          permissions,
          signal,
        }),
      );
    } catch (error) {
      this.#state = "initial";
      throw error;
    } finally {
      processTree.pendingCopies.delete(this.#identity.join(":"));
    }
  }

  /**
   * Waits until the child has ended.
   *
   * @param options how long to wait, and what ends the wait
   * @returns its exit code, as {@link Process.exitCode}; null when the time ran out
   * @throws {ProcessError} if the process was not started, or was closed
   */
  async join(options: WaitOptions = {}): Promise<number | null> {
    this.#assertUsable("join()");
    checkWaitOptions("join()", options);
    const child = this.#requireStarted("join()");
    child.ref();
    try {
      const status = await withTimeout(this.#ended as Promise<ExitStatus>, "join()", options);
      return status === TIMED_OUT ? null : this.exitCode;
    } finally {
      if (this.#daemon) child.unref();
    }
  }

  /** Asks the child to stop what it does, by SIGINT, as Ctrl+C does. */
  interrupt(): void {
    this.#sendSignal("interrupt()", "SIGINT");
  }

  /** Ends the child by SIGTERM, which it may handle. */
  terminate(): void {
    this.#sendSignal("terminate()", "SIGTERM");
  }

  /** Ends the child by SIGKILL, which it cannot handle. */
  kill(): void {
    this.#sendSignal("kill()", "SIGKILL");
  }

  /**
   * Releases what this object holds; it cannot be used afterwards.
   *
   * @throws {ProcessError} if the child has not ended
   */
  close(): void {
    if (this.#state === "starting" || this.isAlive()) {
      throw new ProcessError(
        `close() cannot be called on ${this.#name} while it runs: call terminate() or join() first`,
        { code: "ERR_RUNNING" },
      );
    }
    this.#state = "closed";
    this.#child = undefined;
  }

  /** Ends the child if it still runs, waits for it, and closes. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "closed") return;
    if (this.isAlive()) this.terminate();
    await this.#ended;
    this.close();
  }

  /** Whether the child has been started and has not ended. */
  isAlive(): boolean {
    this.#assertUsable("isAlive()");
    if (this === processTree.current) return true;
    return this.#child !== undefined && this.#status === undefined;
  }

  /** How the process is called, for people. */
  get name(): string {
    return this.#name;
  }

  set name(name: string) {
    if (typeof name !== "string") throw new TypeError(`A process's name is a string, not ${typeof name}`);
    this.#name = name;
  }

  /** Whether this process may end without waiting for the child, which then ends too. Set before the start. */
  get daemon(): boolean {
    return this.#daemon;
  }

  set daemon(daemon: boolean) {
    if (this.#state !== "initial")
      throw new ProcessError(`daemon cannot be changed once ${this.#name} has been started`, { code: "ERR_STARTED" });
    this.#daemon = daemon;
  }

  /** The secret that the processes of one family share. */
  get authKey(): Uint8Array {
    return (this.#authKey ??= treeAuthKey());
  }

  set authKey(key: Uint8Array) {
    if (!(key instanceof Uint8Array)) throw new TypeError("A process's authKey is a Uint8Array");
    this.#authKey = key.slice();
  }

  /** The child's process id; undefined before the start. */
  get pid(): number | undefined {
    this.#assertUsable("pid");
    return this === processTree.current ? host.pid : this.#child?.pid;
  }

  /** The exit code, the negative number of the signal that ended the child, or null before its end. */
  get exitCode(): number | null {
    this.#assertUsable("exitCode");
    if (this.#status === undefined) return null;
    const { code, signal } = this.#status;
    return signal === null ? code : -host.signalNumber(signal);
  }

  /** The signal that ended the child, such as "SIGKILL"; null if none did, or before its end. */
  get signal(): string | null {
    this.#assertUsable("signal");
    return this.#status?.signal ?? null;
  }

  /** What can be given to `wait()`: it is ready when the child has ended. The same object each time, as `wait()` gives it back. */
  get sentinel(): Sentinel {
    this.#assertUsable("sentinel");
    const { pid } = this.#requireStarted("sentinel");
    // Always the same, or it would not be found among those that wait() gives.
    return (this.#sentinel ??= new Sentinel(pid, this.#ended as Promise<ExitStatus>));
  }

  /** What the child writes to its standard output, with `stdio: "pipe"`. */
  get stdout(): ReadableStream<Uint8Array> | null {
    return this.#child?.stdout ?? null;
  }

  /** What the child writes to its standard error, with `stdio: "pipe"`. */
  get stderr(): ReadableStream<Uint8Array> | null {
    return this.#child?.stderr ?? null;
  }

  /** The message for a copy of this process, which has all the rest: only live objects are handed over. */
  #startForkPayload(): { messages: EncodedMessage[]; modules: string[] } {
    const { args = [] } = this.#options;
    const transfer = new ForkTransfer([args, { ...this }]);
    processTree.pendingCopies.set(this.#identity.join(":"), () => {
      transfer.reattach();
      return this.#resumeInCopy();
    });
    const message = textMessage(JSON.stringify({ ...this.#preparationData(), isCopy: true }));
    return { messages: [{ ...message, commit: (scope) => transfer.commit(scope) }], modules: [] };
  }

  /** In the copy: this object stands for the process that it is in. */
  async #resumeInCopy(): Promise<() => unknown> {
    this.#localTarget = await localTarget(this.#options.target);
    processTree.current = this;
    return () => this.run();
  }

  /** What a child is. */
  #preparationData(): PreparationData {
    return {
      name: this.#name,
      daemon: this.#daemon,
      startMethod: getStartMethod(),
      identity: this.#identity,
      depth: childConfig.depth + 1,
      authKey: [...this.authKey],
      parent: { name: processTree.self.name, pid: host.pid },
      target: null,
      subclass: null,
      payloadNames: [],
      isCopy: false,
    };
  }

  /** The messages of `preparation.ts`, and the modules that they name. */
  #startPayload(): { messages: EncodedMessage[]; modules: string[] } {
    const { target, args = [] } = this.#options;
    const reference = target === undefined ? undefined : requireTarget(target, "Process");
    const named = reference !== undefined && "module" in reference ? reference : null;
    const fields = { ...this };
    const values = {
      ...(target === undefined || named !== null ? {} : { target }),
      ...(args.length === 0 ? {} : { args }),
      ...(Object.keys(fields).length === 0 ? {} : { fields }),
    };
    const preparation: PreparationData = {
      ...this.#preparationData(),
      target: named,
      subclass: subclassOf(this),
      payloadNames: Object.keys(values) as Array<keyof typeof values>,
    };
    const encoded = Object.entries(values).map(([name, value]) =>
      encodeMessage(value, name === "fields" ? "this" : name),
    );
    const modules = [named, preparation.subclass].flatMap((found) => (found === null ? [] : [found.module]));
    return {
      messages: [textMessage(JSON.stringify(preparation)), ...encoded],
      modules: [...LAZY_MODULES, ...modules, ...encoded.flatMap(({ frame }) => frame.modules)],
    };
  }

  #trackChild(child: Child): void {
    this.#child = child;
    this.#state = "started";
    processTree.children.add(this);
    if (this.#daemon) child.unref();
    const { signal } = this.#options;
    const abort = (): void => child.kill("SIGKILL");
    signal?.addEventListener("abort", abort, { once: true });
    if (signal?.aborted) abort();
    this.#ended = child.exited.then((status) => {
      this.#status = status;
      processTree.children.delete(this);
      signal?.removeEventListener("abort", abort);
      return status;
    });
  }

  #sendSignal(call: string, signal: string): void {
    this.#assertUsable(call);
    const child = this.#requireStarted(call);
    if (this.#status === undefined) child.kill(signal);
  }

  #requireStarted(call: string): Child {
    if (this.#child === undefined) {
      throw new ProcessError(`${call} was called on ${this.#name} before it was started: call start() first`, {
        code: "ERR_NOT_STARTED",
      });
    }
    return this.#child;
  }

  #assertUsable(call: string): void {
    if (this.#state === "closed")
      throw new ProcessError(`${call} was called on ${this.#name} after close()`, { code: "ERR_PROCESS_CLOSED" });
    if (this.#ownerPid === host.pid || this === processTree.current) return;
    throw new ProcessError(
      `${call} was called on ${this.#name} in process ${host.pid}, a copy of process ${this.#ownerPid}: only that one can start it and wait for it`,
      { code: "ERR_NOT_PARENT" },
    );
  }
}

/** How the class of a process is found in the child; a plain `Process` is there anyway. */
function subclassOf(process: object): PreparationData["subclass"] {
  const prototype = Object.getPrototypeOf(process) as object;
  if (prototype === Process.prototype) return null;
  const found = registry.classesByPrototype.get(prototype);
  if (found !== undefined) return { module: found.module, name: found.name };
  const { name } = prototype.constructor;
  throw new TargetError(
    `Process cannot send its subclass "${name}": export it from its module, and call registerClass(import.meta.url, ${name}) there`,
  );
}
