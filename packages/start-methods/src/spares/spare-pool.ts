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
  connectOutput,
  decodeMessage,
  host,
  type Invitation,
  invite,
  lifetime,
  placeForChild,
  revoke,
  stdioOf,
  within,
} from "@multiproc/core/internal";
import { type Deferred, deferred } from "../deferred.ts";
import { getExecutable } from "../executable.ts";
import type { ForkserverKind } from "../forkserver.ts";
import { idle } from "../helper-processes.ts";
import { argsWithWork, type Child, type StartOptions } from "../launcher.ts";
import { filePath, launchSpawned } from "../spawn.ts";
import { endedEarly, type Failure, preloadError } from "../start-failure.ts";
import { BEGUN, FAILED, type SpareWork, WORK } from "./protocol.ts";
import { SpareOutput } from "./spare-output.ts";

const ENTRY = new URL(import.meta.url.endsWith(".ts") ? "../spare-entry.ts" : "./spare-entry.js", import.meta.url);
/** How long a child that was just started has the CPU to itself, in milliseconds. */
const REFILL_DELAY = 20;

/** Processes in stock. */
export class Spares {
  readonly #preload: readonly string[];
  /** Those that may be ready first come first. */
  #stock: Spare[] = [];
  /** How many there should be, by where their streams lead. */
  readonly #sizes: Map<string, number> = new Map();
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
    if (!isOrdinary(options)) return this.launchOne(options, args);
    const wanted = this.#orderFor(options);
    const key = keyOf(wanted);
    for (;;) {
      const known = this.#take(key, streamsOf(wanted));
      const spare = known ?? new Spare(wanted, this.#preload, key);
      this.#refillSoon(wanted, key);
      try {
        return await spare.handOver(options, args);
      } catch (error) {
        // One in stock was killed, or could not be had when it was made; the next one may be well.
        if (known === undefined || options.signal?.aborted) throw error;
      }
    }
  }

  /** Starts a spare for this child alone. */
  launchOne(options: StartOptions, args: readonly string[]): Promise<Child> {
    return new Spare(this.#orderFor(options), this.#preload, "").handOver(options, args);
  }

  /** Ends those in stock. */
  async close(): Promise<void> {
    this.#isClosed = true;
    this.#cancelRefill?.();
    for (const spare of this.#stock.splice(0)) spare.end();
  }

  /** Has the first spare made, and waits until it is ready. */
  async filled(signal: AbortSignal): Promise<this> {
    signal.addEventListener("abort", () => void this.close(), { once: true });
    const wanted = this.#orderFor({
      name: "a spare process",
      method: "forkserver",
      entry: ENTRY,
      messages: [],
      modules: [],
    });
    this.#sizes.set(streamsOf(wanted), 1);
    this.#refill(wanted, keyOf(wanted));
    await this.#stock[0]?.untilReady();
    return this;
  }

  #take(key: string, streams: string): Spare | undefined {
    // Another environment, folder or interpreter than when they were started.
    for (const spare of this.#stock.filter((each) => each.key !== key)) spare.end();
    this.#stock = this.#stock.filter((each) => each.key === key && !each.isGone);
    const fitting = this.#stock.filter((each) => each.streams === streams);
    const ready = fitting.find(({ isReady }) => isReady);
    // None is ready: next time there should be one more.
    if (ready === undefined) this.#sizes.set(streams, Math.min((this.#sizes.get(streams) ?? 0) + 1, cpuCount()));
    const taken = ready ?? fitting[0];
    this.#stock = this.#stock.filter((each) => each !== taken);
    return taken;
  }

  #refillSoon(wanted: StartOptions, key: string): void {
    this.#cancelRefill?.();
    this.#cancelRefill = host.timer(() => this.#refill(wanted, key), REFILL_DELAY, false);
  }

  #refill(wanted: StartOptions, key: string): void {
    if (this.#isClosed) return;
    const streams = streamsOf(wanted);
    const size = this.#sizes.get(streams) ?? 0;
    for (let count = this.#stock.filter((each) => each.streams === streams).length; count < size; count++)
      this.#stock.push(new Spare(wanted, this.#preload, key));
  }

  /** How a spare for such a child is started. */
  #orderFor(options: StartOptions): StartOptions {
    const reach = [...this.#preload, options.entry.href, ...options.modules];
    return { ...options, entry: ENTRY, messages: [], modules: reach, signal: undefined };
  }
}

/** A process that waits for work, or is on its way to that. */
class Spare {
  readonly key: string;
  /** Where its streams lead. */
  readonly streams: string;
  readonly #outputs: { readonly stdout?: SpareOutput; readonly stderr?: SpareOutput };
  isReady = false;
  isGone = false;
  readonly #ready: Deferred<Channel> = deferred();
  readonly #begun: Deferred<void> = deferred();
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
    this.streams = streamsOf(options);
    this.#outputs = {
      ...(stdioOf(options.stdout) === "pipe" ? { stdout: new SpareOutput("stdout") } : {}),
      ...(stdioOf(options.stderr) === "pipe" ? { stderr: new SpareOutput("stderr") } : {}),
    };
    this.#name = options.name;
    this.#launched = this.#launch(options, preload);
    this.#launched.catch((error) => this.#lose(error));
  }

  /** Waits until it has loaded its modules. */
  async untilReady(): Promise<void> {
    this.#await();
    await this.#ready.promise;
    if (this.isReady) this.#child?.unref();
  }

  /** Makes it the child; not to be called twice. */
  async handOver(options: StartOptions, args: readonly string[]): Promise<Child> {
    const { entry, name, signal } = options;
    const withWork = argsWithWork(options, args);
    const isTied = withWork !== undefined;
    this.#name = name;
    this.#await();
    try {
      const channel = (await within(this.#ready.promise, "start()", { signal })) as Channel;
      await this.#watched;
      const child = {
        ...(this.#child as Child),
        stdout: connectOutput(this.#outputs.stdout, options.stdout),
        stderr: connectOutput(this.#outputs.stderr, options.stderr),
      };
      idle.delete(child.pid);
      channel.send(WORK, { entry: entry.href, args: withWork ?? args, isTied } satisfies SpareWork);
      // Until it says so, it can be gone without having done anything.
      await within(this.#begun.promise, "start()", { signal });
      return Object.assign(child, { hasWork: isTied });
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

  #await(): void {
    this.#isAwaited = true;
    this.#child?.ref();
  }

  async #launch(options: StartOptions, preload: readonly string[]): Promise<Child> {
    const place = placeForChild();
    const invitation = invite((channel) => this.#meet(channel));
    try {
      const args = [invitation.address, invitation.token, place, JSON.stringify(preload)];
      const child = await launchSpawned({ ...options, ...this.#outputs }, args);
      this.#child = child;
      if (!this.#isAwaited) child.unref();
      idle.add(child.pid);
      this.#watched = lifetime.watch(child.pid);
      void child.exited.then((status) => {
        this.#forget(child, invitation, place);
        this.#lose(endedEarly(this.#name, child.pid, status));
      });
      return child;
    } catch (error) {
      revoke(invitation);
      throw error;
    }
  }

  #meet(channel: Channel): void {
    channel.start({
      message: (frame) => {
        if (frame.kind === FAILED) return this.#lose(preloadError("A spare process", decodeMessage(frame) as Failure));
        if (frame.kind === BEGUN) return this.#begun.resolve();
        this.isReady = true;
        this.#ready.resolve(channel);
      },
      closed: () => {
        this.isReady = false; // why, its exit will tell
        this.isGone = true;
      },
    });
  }

  #forget(child: Child, invitation: Invitation, place: string): void {
    revoke(invitation);
    lifetime.forget(child.pid);
    idle.delete(child.pid);
    host.remove(place);
  }

  /** It cannot be given work any more. If it had some, that is its parent's to see. */
  #lose(error: unknown): void {
    this.isGone = true;
    this.isReady = false;
    this.#ready.reject(error);
    this.#begun.reject(error);
  }
}

/** Where the streams of a child lead; who reads them does not matter to it. */
function streamsOf({ stdout, stderr }: StartOptions): string {
  return `${stdioOf(stdout)} ${stdioOf(stderr)}`;
}

/** Whether a process that runs already can be this child. */
function isOrdinary({ env, cwd, execArgv, permissions }: StartOptions): boolean {
  return env === undefined && cwd === undefined && execArgv === undefined && (permissions ?? "inherit") === "inherit";
}

/** What two processes have in common that can take each other's place. */
function keyOf({ entry, modules }: StartOptions): string {
  const reach = { read: modules.flatMap(filePath), write: [], sockets: [] };
  const command = host.interpreter({ entry, args: [], executable: getExecutable(), reach });
  // Deno lists the variables in another order each time.
  const variables = Object.entries(host.environment() ?? {}).sort(([a], [b]) => (a < b ? -1 : 1));
  return JSON.stringify([command, host.cwd(), variables]);
}
