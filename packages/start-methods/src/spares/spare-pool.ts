/**
 * A pool of spares: the source of `forkserver` children where processes cannot be forked.
 *
 * ```text
 * owner                                  spare
 *   interpreter, with modules ───────────>   loads the modules
 *               <───────── READY ─────────   waits, without a timer or a thread
 *   ASSIGN: entry, arguments, messages ──>
 *               <──────── ASSIGNED ───────   runs the entry, as if it had been started with it
 *   after REFILL_DELAY_MS: the next spare
 * ```
 *
 * A spare that is never assigned ends with its owner. The pool grows by one spare whenever a start
 * finds none ready, up to one for each CPU. Each combination of standard streams has its own count.
 * A running interpreter cannot change its environment, working directory, flags or permissions. A
 * child that needs other ones gets a spare of its own, which is assigned as soon as it is ready.
 */
import { cpuCount, StartError } from "@multiproc/core";
import {
  type Channel,
  cleanup,
  closeEndpoint,
  decodeMessage,
  exposeEndpoint,
  host,
  reserveSocketPath,
  routeOutput,
  toStdio,
  withTimeout,
} from "@multiproc/core/internal";
import { type Deferred, deferred } from "../deferred.ts";
import { getExecutable } from "../executable.ts";
import { helperPids } from "../helper-processes.ts";
import { argsWithPayload, type Child, type ForkserverKind, type StartOptions } from "../launcher.ts";
import { filePath, spawnChild } from "../spawn.ts";
import { earlyExitError, type Failure, preloadError } from "../start-failure.ts";
import { ASSIGN, ASSIGNED, FAILED, type SpareAssignment } from "./protocol.ts";
import { SpareOutput } from "./spare-output.ts";

const ENTRY = new URL(import.meta.url.endsWith(".ts") ? "../spare-entry.ts" : "./spare-entry.js", import.meta.url);
/**
 * The delay before the next spare is started, so that it does not compete with the child that was
 * just started.
 */
const REFILL_DELAY_MS = 20;
/** How long the owner waits for the last message of a spare that has exited. */
const LAST_MESSAGE_MS = 500;

/** The spares of one process. */
export class SparePool {
  readonly #preload: readonly string[];
  /** Spares without an assignment, the oldest first. */
  #idle: Spare[] = [];
  /** The wanted number of idle spares, by their standard streams. */
  readonly #targetSizes: Map<string, number> = new Map();
  #cancelRefill: (() => void) | undefined;
  #isClosed = false;

  readonly kind: ForkserverKind;
  /** Always true: spares that end are replaced. */
  readonly isRunning = true;

  /**
   * @param preload URLs of the modules that spares load
   * @param reason why processes cannot be forked
   */
  constructor(preload: readonly string[], reason = "") {
    this.#preload = preload;
    this.kind = { kind: "spares", reason };
  }

  /** Starts a child: assigns an idle spare, or a new one. */
  async launch(options: StartOptions, args: readonly string[]): Promise<Child> {
    if (!canUseIdleSpare(options)) return this.launchDedicated(options, args);
    const spareOptions = this.#spareOptions(options);
    const key = compatibilityKey(spareOptions);
    for (;;) {
      const reused = this.#take(key, stdioKeyOf(spareOptions));
      const spare = reused ?? new Spare(spareOptions, this.#preload, key);
      this.#scheduleRefill(spareOptions, key);
      try {
        return await spare.assign(options, args);
      } catch (error) {
        // An idle spare may have been killed, or have failed to start. The next one may work.
        if (reused === undefined || options.signal?.aborted) throw error;
      }
    }
  }

  /** Starts a spare for this child alone. */
  launchDedicated(options: StartOptions, args: readonly string[]): Promise<Child> {
    return new Spare(this.#spareOptions(options), this.#preload, "").assign(options, args);
  }

  /** Ends the idle spares. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRefill?.();
    for (const spare of this.#idle.splice(0)) spare.end();
  }

  /** Starts the first spare, and waits until it is ready. */
  async warmed(signal: AbortSignal): Promise<this> {
    signal.addEventListener("abort", () => void this.close(), { once: true });
    const spareOptions = this.#spareOptions({
      name: "a spare process",
      method: "forkserver",
      entry: ENTRY,
      messages: [],
      modules: [],
    });
    this.#targetSizes.set(stdioKeyOf(spareOptions), 1);
    this.#refill(spareOptions, compatibilityKey(spareOptions));
    await this.#idle[0]?.untilReady();
    return this;
  }

  #take(key: string, stdioKey: string): Spare | undefined {
    // Spares with another key were started with another environment, working directory or interpreter.
    for (const spare of this.#idle.filter((each) => each.key !== key)) spare.end();
    this.#idle = this.#idle.filter((each) => each.key === key && !each.isGone);
    const candidates = this.#idle.filter((each) => each.stdioKey === stdioKey);
    const ready = candidates.find(({ isReady }) => isReady);
    // No spare was ready in time, so the pool grows.
    if (ready === undefined)
      this.#targetSizes.set(stdioKey, Math.min((this.#targetSizes.get(stdioKey) ?? 0) + 1, cpuCount()));
    const taken = ready ?? candidates[0];
    this.#idle = this.#idle.filter((each) => each !== taken);
    return taken;
  }

  #scheduleRefill(spareOptions: StartOptions, key: string): void {
    this.#cancelRefill?.();
    this.#cancelRefill = host.timer(() => this.#refill(spareOptions, key), REFILL_DELAY_MS, false);
  }

  #refill(spareOptions: StartOptions, key: string): void {
    if (this.#isClosed) return;
    const stdioKey = stdioKeyOf(spareOptions);
    const targetSize = this.#targetSizes.get(stdioKey) ?? 0;
    for (let count = this.#idle.filter((each) => each.stdioKey === stdioKey).length; count < targetSize; count++)
      this.#idle.push(new Spare(spareOptions, this.#preload, key));
  }

  /** Returns the start options of a spare for such a child. */
  #spareOptions(options: StartOptions): StartOptions {
    const requiredModules = [...this.#preload, options.entry.href, ...options.modules];
    return { ...options, entry: ENTRY, messages: [], modules: requiredModules, signal: undefined };
  }
}

/** A process that waits for an assignment, or still loads its modules. */
class Spare {
  readonly key: string;
  /** The destinations of its standard streams. */
  readonly stdioKey: string;
  readonly #outputs: { readonly stdout?: SpareOutput; readonly stderr?: SpareOutput };
  isReady = false;
  isGone = false;
  readonly #ready: Deferred<Channel> = deferred();
  readonly #assigned: Deferred<void> = deferred();
  readonly #channelClosed: Deferred<void> = deferred();
  readonly #launched: Promise<Child>;
  #child: Child | undefined;
  /** Resolves when the watchdog knows the spare: it can no longer outlive this process. */
  #watched: Promise<void> | undefined;
  /** Whether it keeps this program alive. */
  #isAwaited = false;
  /** Its name in errors. */
  #name: string;

  constructor(options: StartOptions, preload: readonly string[], key: string) {
    this.key = key;
    this.stdioKey = stdioKeyOf(options);
    this.#outputs = {
      ...(toStdio(options.stdout) === "pipe" ? { stdout: new SpareOutput("stdout") } : {}),
      ...(toStdio(options.stderr) === "pipe" ? { stderr: new SpareOutput("stderr") } : {}),
    };
    this.#name = options.name;
    this.#launched = this.#launch(options, preload);
    this.#launched.catch((error) => this.#fail(error));
  }

  /** Waits until the modules are loaded. */
  async untilReady(): Promise<void> {
    this.#markAwaited();
    await this.#ready.promise;
    if (this.isReady) this.#child?.unref();
  }

  /** Makes the spare the child. A spare is assigned once. */
  async assign(options: StartOptions, args: readonly string[]): Promise<Child> {
    const { entry, name, signal } = options;
    const payloadArgs = argsWithPayload(options, args);
    const endsWithOwner = payloadArgs !== undefined;
    this.#name = name;
    this.#markAwaited();
    try {
      const channel = (await withTimeout(this.#ready.promise, "start()", { signal })) as Channel;
      await this.#watched;
      const child = {
        ...(this.#child as Child),
        stdout: routeOutput(this.#outputs.stdout, options.stdout),
        stderr: routeOutput(this.#outputs.stderr, options.stderr),
      };
      helperPids.delete(child.pid);
      channel.send(ASSIGN, { entry: entry.href, args: payloadArgs ?? args, endsWithOwner } satisfies SpareAssignment);
      // Until this reply arrives, the spare may have died before the assignment.
      await withTimeout(this.#assigned.promise, "start()", { signal });
      return Object.assign(child, { hasPayload: endsWithOwner });
    } catch (error) {
      this.end();
      if (error instanceof StartError || signal?.aborted) throw error;
      throw new StartError(`Cannot start ${name}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Kills the spare, also while it is being started. */
  end(): void {
    this.isGone = true;
    void this.#launched.then(
      (child) => child.kill("SIGKILL"),
      () => {},
    );
  }

  #markAwaited(): void {
    this.#isAwaited = true;
    this.#child?.ref();
  }

  async #launch(options: StartOptions, preload: readonly string[]): Promise<Child> {
    const socketPath = reserveSocketPath();
    const endpoint = exposeEndpoint((channel) => this.#onConnect(channel));
    try {
      const args = [endpoint.socketPath, endpoint.token, socketPath, JSON.stringify(preload)];
      const stdout = this.#outputs.stdout?.reader ?? options.stdout;
      const stderr = this.#outputs.stderr?.reader ?? options.stderr;
      const child = await spawnChild({ ...options, stdout, stderr }, args);
      this.#child = child;
      if (!this.#isAwaited) child.unref();
      helperPids.add(child.pid);
      this.#watched = cleanup.watchChild(child.pid);
      void child.exited.then(async (status) => {
        cleanup.forgetChild(child.pid);
        helperPids.delete(child.pid);
        host.remove(socketPath);
        await this.#lastMessageRead();
        closeEndpoint(endpoint);
        this.#fail(earlyExitError(this.#name, child.pid, status));
      });
      return child;
    } catch (error) {
      closeEndpoint(endpoint);
      throw error;
    }
  }

  #onConnect(channel: Channel): void {
    channel.start({
      message: (frame) => {
        if (frame.kind === FAILED) return this.#fail(preloadError("A spare process", decodeMessage(frame) as Failure));
        if (frame.kind === ASSIGNED) return this.#assigned.resolve();
        this.isReady = true;
        this.#ready.resolve(channel);
      },
      closed: () => {
        this.isReady = false; // the reason is known when the process has ended
        this.isGone = true;
        this.#channelClosed.resolve();
      },
    });
  }

  /**
   * Waits for the last message of a spare that has exited: the error of a module, for example. The
   * exit is often known before its connection is accepted, or before the message is read.
   */
  #lastMessageRead(): Promise<unknown> {
    return withTimeout(this.#channelClosed.promise, "start()", { timeout: LAST_MESSAGE_MS });
  }

  /** Ends the use of the spare. The process that it has become reports its own end. */
  #fail(error: unknown): void {
    this.isGone = true;
    this.isReady = false;
    this.#ready.reject(error);
    this.#assigned.reject(error);
  }
}

/**
 * Returns the destinations of the streams of a child as a key. The reader of a pipe makes no
 * difference.
 */
function stdioKeyOf({ stdout, stderr }: StartOptions): string {
  return `${toStdio(stdout)} ${toStdio(stderr)}`;
}

/** Returns whether an idle spare can become this child. */
function canUseIdleSpare({ env, cwd, execArgv, permissions }: StartOptions): boolean {
  return env === undefined && cwd === undefined && execArgv === undefined && (permissions ?? "inherit") === "inherit";
}

/**
 * Returns the command line, working directory and environment of a spare as a key. Spares with the
 * same key are interchangeable.
 */
function compatibilityKey({ entry, modules }: StartOptions): string {
  const requiredAccess = { read: modules.flatMap(filePath), write: [], sockets: [] };
  const command = host.interpreter({ entry, args: [], executable: getExecutable(), requiredAccess });
  // Deno lists environment variables in random order.
  const variables = Object.entries(host.environment() ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([command, host.cwd(), variables]);
}
