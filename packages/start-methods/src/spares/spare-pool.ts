/**
 * Warm spares: what the start method `forkserver` uses where no process can be forked.
 *
 * ```text
 * owner                                  spare
 *   interpreter, with modules ───────────>   loads them
 *               <───────── READY ─────────   waits: no timer, no thread, nothing to do
 *   WORK: entry, arguments, messages ────>
 *               <───────── BEGUN ─────────   runs the entry, as if it had been started with it
 *   a timer later: the next spare
 * ```
 *
 * A spare that nobody needs ends when its owner does. There are so many as were missed at once, up to one for each CPU. A child
 * that differs in its surroundings (environment, folder, flags, permissions) cannot be a process that runs already: for it a
 * spare is started, and given its work as soon as it is ready. Those whose streams lead elsewhere have a stock of their own.
 */
import { cpuCount, StartError } from "@multiproc/core";
import {
  type Channel,
  cleanup,
  closeEndpoint,
  decodeMessage,
  type EndpointAddress,
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
/** How long a child that was just started has the CPU to itself, in milliseconds. */
const REFILL_DELAY_MS = 20;

/** Processes in stock. */
export class SparePool {
  readonly #preload: readonly string[];
  /** Those that may be ready first come first. */
  #idle: Spare[] = [];
  /** How many there should be, by where their streams lead. */
  readonly #targetSizes: Map<string, number> = new Map();
  #cancelRefill: (() => void) | undefined;
  #isClosed = false;

  readonly kind: ForkserverKind;
  /** Those that end are replaced, so there is no end of all. */
  readonly isRunning = true;

  /**
   * @param preload the modules that spares load, by their URLs
   * @param reason why there is no fork
   */
  constructor(preload: readonly string[], reason = "") {
    this.#preload = preload;
    this.kind = { kind: "spares", reason };
  }

  /** Has a spare do the work of a child. */
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
        // One in stock was killed, or could not be had when it was made; the next one may be well.
        if (reused === undefined || options.signal?.aborted) throw error;
      }
    }
  }

  /** Starts a spare for this child alone. */
  launchDedicated(options: StartOptions, args: readonly string[]): Promise<Child> {
    return new Spare(this.#spareOptions(options), this.#preload, "").assign(options, args);
  }

  /** Ends those in stock. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRefill?.();
    for (const spare of this.#idle.splice(0)) spare.end();
  }

  /** Has the first spare made, and waits until it is ready. */
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
    // Another environment, folder or interpreter than when they were started.
    for (const spare of this.#idle.filter((each) => each.key !== key)) spare.end();
    this.#idle = this.#idle.filter((each) => each.key === key && !each.isGone);
    const candidates = this.#idle.filter((each) => each.stdioKey === stdioKey);
    const ready = candidates.find(({ isReady }) => isReady);
    // None is ready: next time there should be one more.
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

  /** How a spare for such a child is started. */
  #spareOptions(options: StartOptions): StartOptions {
    const requiredModules = [...this.#preload, options.entry.href, ...options.modules];
    return { ...options, entry: ENTRY, messages: [], modules: requiredModules, signal: undefined };
  }
}

/** A process that waits for work, or is on its way to that. */
class Spare {
  readonly key: string;
  /** Where its streams lead. */
  readonly stdioKey: string;
  readonly #outputs: { readonly stdout?: SpareOutput; readonly stderr?: SpareOutput };
  isReady = false;
  isGone = false;
  readonly #ready: Deferred<Channel> = deferred();
  readonly #assigned: Deferred<void> = deferred();
  readonly #launched: Promise<Child>;
  #child: Child | undefined;
  /** When it cannot outlive this process any more. */
  #watched: Promise<void> | undefined;
  /** Whether this program waits for it. */
  #isAwaited = false;
  /** How it is called in errors. */
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

  /** Waits until it has loaded its modules. */
  async untilReady(): Promise<void> {
    this.#markAwaited();
    await this.#ready.promise;
    if (this.isReady) this.#child?.unref();
  }

  /** Makes it the child; not to be called twice. */
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
      // Until it says so, it can be gone without having done anything.
      await withTimeout(this.#assigned.promise, "start()", { signal });
      return Object.assign(child, { hasPayload: endsWithOwner });
    } catch (error) {
      this.end();
      if (error instanceof StartError || signal?.aborted) throw error;
      throw new StartError(`Cannot start ${name}: ${(error as Error).message}`, { cause: error });
    }
  }

  /** Ends it, whatever it does. */
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
      void child.exited.then((status) => {
        this.#cleanUp(child, endpoint, socketPath);
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
        this.isReady = false; // why, its exit will tell
        this.isGone = true;
      },
    });
  }

  #cleanUp(child: Child, endpoint: EndpointAddress, socketPath: string): void {
    closeEndpoint(endpoint);
    cleanup.forgetChild(child.pid);
    helperPids.delete(child.pid);
    host.remove(socketPath);
  }

  /** It cannot be given work any more. If it had some, that is its parent's to see. */
  #fail(error: unknown): void {
    this.isGone = true;
    this.isReady = false;
    this.#ready.reject(error);
    this.#assigned.reject(error);
  }
}

/** Where the streams of a child lead; who reads them does not matter to it. */
function stdioKeyOf({ stdout, stderr }: StartOptions): string {
  return `${toStdio(stdout)} ${toStdio(stderr)}`;
}

/** Whether a process that runs already can be this child. */
function canUseIdleSpare({ env, cwd, execArgv, permissions }: StartOptions): boolean {
  return env === undefined && cwd === undefined && execArgv === undefined && (permissions ?? "inherit") === "inherit";
}

/** What two processes have in common that can take each other's place. */
function compatibilityKey({ entry, modules }: StartOptions): string {
  const requiredAccess = { read: modules.flatMap(filePath), write: [], sockets: [] };
  const command = host.interpreter({ entry, args: [], executable: getExecutable(), requiredAccess });
  // Deno lists the variables in another order each time.
  const variables = Object.entries(host.environment() ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([command, host.cwd(), variables]);
}
