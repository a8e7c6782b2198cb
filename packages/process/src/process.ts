/** `Process`: a child process and its function. */
import { ProcessError, TargetError } from "@multiproc/core";
import {
  checkWaitOptions,
  childConfig,
  describeValue,
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
 * A child process that calls a function.
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
  /** In a forked child, the function that a target of `fromModule()` names. */
  #localTarget: ((...args: A) => unknown) | undefined;
  #ended: Promise<ExitStatus> | undefined;
  #status: ExitStatus | undefined;
  /**
   * The process that created this object. A forked process can use its copy only if the object
   * represents it.
   */
  readonly #ownerPid: number = host.pid;

  /**
   * Creates the object. `start()` starts the child.
   *
   * @param options the function of the child, its arguments, and how it is started
   * @throws {TargetError} if another process cannot find the target
   * @throws {StartMethodError} if the start method is not available
   * @throws {TypeError} for unknown options, and for values of the wrong type
   */
  constructor(options: ProcessOptions<A> = {} as ProcessOptions<A>) {
    checkProcessOptions(options);
    this.#options = options;
    this.#identity = nextIdentity();
    this.#name = options.name ?? `Process-${this.#identity.join(":")}`;
    this.#daemon = options.daemon ?? processTree.self.daemon;
  }

  /**
   * Calls the target with its arguments, in the child. A subclass may override this method. Its own
   * fields are sent to the child, and it is registered with
   * `registerClass(import.meta.url, TheClass)`.
   */
  run(): unknown {
    return (this.#localTarget ?? this.#options.target)?.(...((this.#options.args ?? []) as A));
  }

  /**
   * Starts the child. The promise resolves when the child runs and has received its arguments.
   * Start several children at once with
   * `await Promise.all(processes.map((process) => process.start()))`.
   *
   * @throws {ProcessError} if the process was started before or was closed, or if children may not
   * be started here
   * @throws {SendError} if an argument cannot be sent; no child is started then
   * @throws {StartError} if the child cannot be started, or ends before it is ready
   * @throws {StartMethodError} if the start method is not available now
   */
  async start(): Promise<void> {
    this.#assertUsable("start()");
    if (this.#state !== "initial") {
      throw new ProcessError(`start() has been called on ${this.#name} before: create a new Process for each start`, {
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
   * @param options the limit of the wait, and a signal that cancels it
   * @returns the exit code, as {@link Process.exitCode}; null if the time runs out
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

  /** Sends SIGINT to the child, as Ctrl+C does. */
  interrupt(): void {
    this.#sendSignal("interrupt()", "SIGINT");
  }

  /** Sends SIGTERM to the child, which ends it unless it handles the signal. */
  terminate(): void {
    this.#sendSignal("terminate()", "SIGTERM");
  }

  /** Sends SIGKILL to the child, which ends it in any case. */
  kill(): void {
    this.#sendSignal("kill()", "SIGKILL");
  }

  /**
   * Releases the resources of this object, which cannot be used afterwards.
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

  /** Terminates the child if it runs, waits for its end, and closes the object. */
  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#state === "closed") return;
    if (this.isAlive()) this.terminate();
    await this.#ended;
    this.close();
  }

  /** Returns whether the child was started and has not ended. */
  isAlive(): boolean {
    this.#assertUsable("isAlive()");
    if (this === processTree.current) return true;
    return this.#child !== undefined && this.#status === undefined;
  }

  /** The name of the process, for logs and errors. */
  get name(): string {
    return this.#name;
  }

  set name(name: string) {
    if (typeof name !== "string") throw new TypeError(`The name of a Process is a string, not ${describeValue(name)}`);
    this.#name = name;
  }

  /** Whether the child ends with this process, which does not wait for it. Set it before the start. */
  get daemon(): boolean {
    return this.#daemon;
  }

  set daemon(daemon: boolean) {
    if (typeof daemon !== "boolean")
      throw new TypeError(`Whether a Process is a daemon is true or false, not ${describeValue(daemon)}`);
    if (this.#state !== "initial")
      throw new ProcessError(`daemon cannot be changed once ${this.#name} has been started`, { code: "ERR_STARTED" });
    this.#daemon = daemon;
  }

  /** The secret that authenticates connections between the processes of one process tree. */
  get authKey(): Uint8Array {
    return (this.#authKey ??= treeAuthKey());
  }

  set authKey(key: Uint8Array) {
    if (!(key instanceof Uint8Array))
      throw new TypeError(`The authKey of a Process is a Uint8Array, not ${describeValue(key)}`);
    this.#authKey = key.slice();
  }

  /** The pid of the child; undefined before the start. */
  get pid(): number | undefined {
    this.#assertUsable("pid");
    return this === processTree.current ? host.pid : this.#child?.pid;
  }

  /** The exit code, or minus the number of the signal that ended the child; null before its end. */
  get exitCode(): number | null {
    this.#assertUsable("exitCode");
    if (this.#status === undefined) return null;
    const { code, signal } = this.#status;
    return signal === null ? code : -host.signalNumber(signal);
  }

  /** The signal that ended the child, such as "SIGKILL"; null if no signal has. */
  get signal(): string | null {
    this.#assertUsable("signal");
    return this.#status?.signal ?? null;
  }

  /** The end of the child, as an argument of `wait()`. It is the same object each time. */
  get sentinel(): Sentinel {
    this.#assertUsable("sentinel");
    const { pid } = this.#requireStarted("sentinel");
    // A program compares this object with the results of wait(), so it is created once.
    return (this.#sentinel ??= new Sentinel(pid, this.#ended as Promise<ExitStatus>));
  }

  /** The standard output of the child, with `stdio: "pipe"`. */
  get stdout(): ReadableStream<Uint8Array> | null {
    return this.#child?.stdout ?? null;
  }

  /** The standard error of the child, with `stdio: "pipe"`. */
  get stderr(): ReadableStream<Uint8Array> | null {
    return this.#child?.stderr ?? null;
  }

  /**
   * Returns the message for a forked child. The child has copies of its arguments and fields, and
   * only shareable objects are handed over.
   */
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

  /** Makes this object the current process, in the forked child. */
  async #resumeInCopy(): Promise<() => unknown> {
    this.#localTarget = await localTarget(this.#options.target);
    processTree.current = this;
    return () => this.run();
  }

  /** Describes the child. */
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

  /** Returns the messages of `preparation-data.ts`, and the modules that they name. */
  #startPayload(): { messages: EncodedMessage[]; modules: string[] } {
    const { target, args = [] } = this.#options;
    const reference = target === undefined ? undefined : requireTarget(target, "new Process()");
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
      `${call} was called on ${this.#name} in process ${host.pid}, a copy of process ${this.#ownerPid}: only process ${this.#ownerPid} can use it`,
      { code: "ERR_NOT_PARENT" },
    );
  }
}

/** Returns the module and name of a subclass; null for `Process` itself, which every child has. */
function subclassOf(process: object): PreparationData["subclass"] {
  const prototype = Object.getPrototypeOf(process) as object;
  if (prototype === Process.prototype) return null;
  const found = registry.classesByPrototype.get(prototype);
  if (found !== undefined) return { module: found.module, name: found.name };
  const { name } = prototype.constructor;
  throw new TargetError(
    `start() cannot send the subclass "${name}": export it from its module, and call registerClass(import.meta.url, ${name}) there`,
  );
}
