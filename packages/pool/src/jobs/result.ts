import { ProcessError, type WaitOptions } from "@multiproc/core";
import { TIMED_OUT, withTimeout, withTimeoutOrThrow } from "@multiproc/core/internal";
import type { Progress } from "../options.ts";
import { continueTrace } from "./stack-trace.ts";

/** Something under way that can be given up. */
export interface Cancellable {
  cancel(reason: unknown): void;
}

/** What can be said of a call by what of it is done. */
export function progressOf(done: number, total: number, startedAt: number): Progress {
  const elapsed = performance.now() - startedAt;
  const rate = done / elapsed;
  return { done, total, elapsed, rate: rate * 1000, timeLeft: done === total ? 0 : (total - done) / rate };
}

const returnTrue = (): true => true;

/**
 * What a pool will have computed: a promise, which can also be asked as in Python. A failure that nobody asks for is not reported,
 * as in Python.
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
export class AsyncResult<R> extends Promise<R> {
  readonly #deferred: Deferred<R>;

  /** @internal */
  constructor(deferred: Deferred<R>) {
    super(captureSettle);
    this.#deferred = deferred;
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
      return await withTimeoutOrThrow(this, "get()", options);
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
    const settled = this.then(returnTrue, returnTrue);
    return (await withTimeout(settled, "wait()", options)) !== TIMED_OUT;
  }

  /** Whether the work is over. */
  ready(): boolean {
    return !this.#deferred.isPending;
  }

  /**
   * Whether the work succeeded.
   *
   * @throws {ProcessError} if it is not over
   */
  successful(): boolean {
    if (this.#deferred.isPending) {
      throw new ProcessError("successful() was called before the result was ready", { code: "ERR_NOT_READY" });
    }
    return this.#deferred.isFulfilled;
  }

  /** How far the work is. */
  progress(): Progress {
    return this.#deferred.progress();
  }

  /**
   * Gives the work up: what waits is dropped; what runs sees `currentTask().signal` aborted, and if it goes on for longer than
   * the pool's `gracePeriod`, its worker is killed and replaced.
   *
   * @param reason what the result is rejected with
   * @default reason an AbortError
   */
  cancel(reason: unknown = new DOMException("The task was cancelled", "AbortError")): void {
    this.#deferred.cancel(reason);
  }
}

// What is made of it by `then()` is no work of a pool; and what the engine takes for a promise of its own, it awaits without making
// two others, which would take longer than all else that a pool does for a short call.
Object.defineProperty(AsyncResult.prototype, "constructor", { value: Promise, configurable: true, writable: true });

/** Settles a promise with a value, or as another promise. */
type Settle<R> = (value: R | Promise<R>) => void;

/** How the promise is settled that was made last. */
let lastSettle: Settle<unknown> | undefined;

function captureSettle(settle: Settle<never>): void {
  lastSettle = settle as Settle<unknown>;
}

/** When what begins in this turn began: to look at the clock for each of many calls would take longer than to note them. */
let turnStart: { readonly at: number } | undefined;
const RESOLVED: Promise<void> = Promise.resolve();

function currentTurnStart(): { readonly at: number } {
  if (turnStart === undefined) {
    turnStart = { at: performance.now() };
    RESOLVED.then(clearTurnStart);
  }
  return turnStart;
}

function clearTurnStart(): void {
  turnStart = undefined;
}

/** A value or an error that somebody will have. Settled once; what comes after that is ignored. */
export abstract class Deferred<R> implements Cancellable {
  /** What the user has of it. */
  readonly promise: AsyncResult<R> = new AsyncResult<R>(this);
  #settle: Settle<R> | undefined = lastSettle;
  readonly #turnStart: { readonly at: number } = currentTurnStart();
  #isFulfilled = false;

  abstract cancel(reason: unknown): void;

  get isPending(): boolean {
    return this.#settle !== undefined;
  }

  get isFulfilled(): boolean {
    return this.#isFulfilled;
  }

  resolve(value: R): void {
    const settle = this.#settle;
    if (settle === undefined) return;
    this.#isFulfilled = true;
    this.#settle = undefined; // first: the engine asks the value for a `then`, and a getter may do anything
    settle(value);
  }

  reject(reason: unknown): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(rejectWithTrace(this.promise, reason));
  }

  /** How far it is; what consists of many parts knows better. */
  progress(): Progress {
    return progressOf(this.isPending ? 0 : 1, 1, this.#turnStart.at);
  }
}

/**
 * Fails with the error of a task. Its trace is continued a moment later, when it is known who awaits the promise that fails with
 * this one: success costs nothing that way.
 */
async function rejectWithTrace(promise: Promise<unknown>, reason: unknown): Promise<never> {
  // One turn for the two to be linked, others for who awaits something else that the promise is a part of.
  for (let i = 0; i < 3; i++) await undefined;
  const error = continueTrace(reason);
  // Nobody has to handle a failure that nobody looks at. Before, this would be one who awaits it, and not known.
  promise.then(undefined, () => {});
  throw error;
}
