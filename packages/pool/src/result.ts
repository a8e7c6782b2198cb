import { ProcessError, type WaitOptions } from "@multiproc/core";
import { TIMED_OUT, within, withinOrThrow } from "@multiproc/core/internal";
import { isOfEngine, UnmadePromise } from "./awaiting.ts";

/** Something under way that can be given up. */
export interface Cancellable {
  cancel(reason: unknown): void;
}

/**
 * How far a call is.
 *
 * @example How far a map has come
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool, type Progress } from "@multiproc/pool";
 *
 * let last: Progress | undefined;
 * const pool = new Pool({ processes: 1 });
 * await pool.map(inline((x: number) => x), [1, 2, 3], { onProgress: (progress) => void (last = progress) });
 * console.log(last?.done, last?.total); // 3 3
 * await pool.terminate();
 * ```
 */
export interface Progress {
  /** How many inputs are done. */
  readonly done: number;
  /** How many there are: 1 for `apply()`, and 0 as long as a map reads its inputs. */
  readonly total: number;
  /** How long it has been under way, in milliseconds. */
  readonly elapsed: number;
  /** How many inputs are done in a second, on average. */
  readonly rate: number;
  /** How long the rest will take at that rate, in milliseconds. */
  readonly timeLeft: number;
}

/** What can be said of a call by what of it is done. */
export function progressOf(done: number, total: number, since: number): Progress {
  const elapsed = performance.now() - since;
  const rate = done / elapsed;
  return { done, total, elapsed, rate: rate * 1000, timeLeft: done === total ? 0 : (total - done) / rate };
}

const OVER = (): true => true;

/**
 * What a pool will have computed: await it like a promise, or ask it as in Python. A failure that nobody asks for is not
 * reported, as in Python.
 *
 * @typeParam R what is computed
 *
 * @example Await a result, or ask how it is
 * ```ts
 * import { inline } from "@multiproc/core";
 * import { Pool } from "@multiproc/pool";
 *
 * await using pool = new Pool({ processes: 1 });
 * const result = pool.apply(inline((a: number, b: number) => a + b), [1, 2]);
 * console.log(result.ready()); // false
 * console.log(await result, result.successful()); // 3 true
 * ```
 */
export class AsyncResult<R> implements PromiseLike<R> {
  readonly #outcome: Outcome<R> & Cancellable;

  /** @internal */
  constructor(outcome: Outcome<R> & Cancellable) {
    this.#outcome = outcome;
  }

  /**
   * As a promise's; this is what `await` calls.
   *
   * @param onfulfilled called with the result
   * @param onrejected called with what the task threw
   */
  // biome-ignore lint/suspicious/noThenProperty: it is awaited like a promise
  then<A = R, B = never>(
    onfulfilled?: ((value: R) => A | PromiseLike<A>) | null,
    // biome-ignore lint/suspicious/noExplicitAny: as a promise's
    onrejected?: ((reason: any) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    if (isOfEngine(onfulfilled) && isOfEngine(onrejected) && this.#outcome.settleWith(onfulfilled as Settle<R>))
      return new UnmadePromise(this.#outcome);
    return this.#outcome.promise().then(onfulfilled, onrejected);
  }

  /**
   * As a promise's.
   *
   * @param onrejected called with what the task threw
   */
  // biome-ignore lint/suspicious/noExplicitAny: as a promise's
  catch<B = never>(onrejected?: ((reason: any) => B | PromiseLike<B>) | null): Promise<R | B> {
    return this.then(undefined, onrejected);
  }

  /**
   * As a promise's.
   *
   * @param onfinally called when the work is over
   */
  finally(onfinally?: (() => void) | null): Promise<R> {
    return this.then().finally(onfinally);
  }

  /**
   * Waits for the result.
   *
   * @param options how long to wait, and what ends the wait
   * @throws {TimeoutError} when the time runs out; the work goes on
   * @throws what the task threw
   */
  async get(options: WaitOptions = {}): Promise<R> {
    try {
      return await withinOrThrow(this.#outcome.promise(), "get()", options);
    } catch (error) {
      throw continueTrace(error);
    }
  }

  /**
   * Waits until the work is over, whether it succeeded or failed.
   *
   * @param options how long to wait, and what ends the wait
   * @returns whether it is; false when the time ran out
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    const over = this.then(OVER, OVER);
    return (await within(over, "wait()", options)) !== TIMED_OUT;
  }

  /** Whether the work is over. */
  ready(): boolean {
    return !this.#outcome.isPending;
  }

  /**
   * Whether the work succeeded.
   *
   * @throws {ProcessError} if it is not over
   */
  successful(): boolean {
    if (this.#outcome.isPending) {
      throw new ProcessError("successful() was called before the result was ready", { code: "ERR_NOT_READY" });
    }
    return this.#outcome.isFulfilled;
  }

  /** How far the work is. */
  progress(): Progress {
    return this.#outcome.progress();
  }

  /**
   * Gives the work up: what waits is dropped; what runs sees `currentTask().signal` aborted, and if it goes on for longer than
   * the pool's `graceMs`, its worker is killed and replaced.
   *
   * @param reason what the result is rejected with
   * @default reason an AbortError
   */
  cancel(reason: unknown = new DOMException("The task was cancelled", "AbortError")): void {
    this.#outcome.cancel(reason);
  }
}

/** Where errors come from, if not from here. */
const ORIGINS: WeakMap<Error, string> = new WeakMap();
/** Errors whose trace has been continued. */
const CONTINUED: WeakSet<Error> = new WeakSet();
/** Where this package is: frames in it are of no interest, whether a trace names the build or, by its source maps, the source. */
const OWN_FOLDERS: string[] = ["../dist/", "../src/"].map((folder) => new URL(folder, import.meta.url).href);

/** Settles a promise with a value, or as another promise. */
type Settle<R> = (value: R | Promise<R>) => void;

/** When what begins in this turn began: to look at the clock for each of many calls would take longer than to note them. */
let moment: { readonly at: number } | undefined;
const NEW_TURN: Promise<void> = Promise.resolve();

function thisMoment(): { readonly at: number } {
  if (moment === undefined) {
    moment = { at: performance.now() };
    NEW_TURN.then(forgetMoment);
  }
  return moment;
}

function forgetMoment(): void {
  moment = undefined;
}

/** A value or an error that somebody will have. Settled once; what comes after that is ignored. */
export class Outcome<R> {
  #state: "pending" | "fulfilled" | "rejected" = "pending";
  /** The value, or the reason. */
  #content: unknown;
  #promise: Promise<R> | undefined;
  readonly #since: { readonly at: number } = thisMoment();
  #settle: Settle<R> | undefined;

  get isPending(): boolean {
    return this.#state === "pending";
  }

  get isFulfilled(): boolean {
    return this.#state === "fulfilled";
  }

  resolve(value: R): void {
    if (this.#state !== "pending") return;
    this.#state = "fulfilled";
    this.#content = value;
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(value);
  }

  reject(reason: unknown): void {
    if (this.#state !== "pending") return;
    this.#state = "rejected";
    this.#content = reason;
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(failing(reason));
  }

  /** How far it is; what consists of many parts knows better. */
  progress(): Progress {
    return progressOf(this.isPending ? 0 : 1, 1, this.#since.at);
  }

  /** The promise of it; made when somebody asks, so that nobody has to handle a failure that nobody looks at. */
  promise(): Promise<R> {
    if (this.#promise !== undefined) return this.#promise;
    if (this.#state === "pending") {
      const awaiting = this.#settle;
      this.#promise = new Promise((resolve) => {
        this.#settle = awaiting === undefined ? resolve : both(awaiting, resolve);
      });
    } else if (this.#state === "fulfilled") this.#promise = Promise.resolve(this.#content as R);
    else this.#promise = failing(this.#content);
    return this.#promise;
  }

  /** Has a promise settled that the engine has made; false if another one has been asked for before. */
  settleWith(settle: Settle<R>): boolean {
    if (this.#state === "fulfilled") settle(this.#content as R);
    else if (this.#state === "rejected") settle(failing(this.#content));
    else if (this.#settle !== undefined) return false;
    else this.#settle = settle;
    return true;
  }
}

function both<R>(first: Settle<R>, second: Settle<R>): Settle<R> {
  return (value) => {
    first(value);
    second(value);
  };
}

/**
 * A promise that fails with the error of a task. Its trace is continued a moment later, when it is known who awaits the
 * promise: success costs nothing that way.
 */
async function failing(reason: unknown): Promise<never> {
  // One turn for `await` to call `then()`, one for this promise to be linked with the one it settles.
  for (let i = 0; i < 3; i++) await undefined;
  throw continueTrace(reason);
}

/**
 * Continues the trace of an error from another process, or from an event, by that of who waits for it. To be called in an
 * async function: the engine knows who awaits that, so nothing has to be noted while all goes well.
 */
export function continueTrace(error: unknown): unknown {
  if (!(error instanceof Error) || CONTINUED.has(error)) return error;
  const here: { stack?: string } = {};
  (Error as { captureStackTrace?: (holder: object, above: unknown) => void }).captureStackTrace?.(here, continueTrace);
  const frames = (here.stack ?? "").split("\n").filter((line) => isCallersFrame(line));
  if (frames.length === 0) return error;
  CONTINUED.add(error);
  const there = (error.stack ?? "").split("\n").filter((line) => !isOwnFrame(line));
  const origin = ORIGINS.get(error);
  const link = origin === undefined ? "called from" : `${origin}, called from`;
  const stack = `${there.join("\n")}\n    -- ${link} --\n${frames.join("\n")}`;
  Object.defineProperty(error, "stack", { value: stack, configurable: true, writable: true, enumerable: false });
  return error;
}

/** Says where an error comes from, in words: "in worker 4711". */
export function noteOrigin(error: unknown, origin: string): void {
  if (error instanceof Error) ORIGINS.set(error, origin);
}

/** Neither the heading, nor this package, nor the host's own machinery. */
function isCallersFrame(line: string): boolean {
  return line.startsWith("    at ") && !isOwnFrame(line) && !/(\(|at )(node|ext):/.test(line);
}

function isOwnFrame(line: string): boolean {
  return line.startsWith("    at ") && OWN_FOLDERS.some((folder) => line.includes(folder));
}
