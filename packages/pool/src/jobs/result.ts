/** `AsyncResult`, the promise that a call returns, and `Deferred`, the object that settles it. */
import { ProcessError, type WaitOptions } from "@multiproc/core";
import { checkWaitOptions, TIMED_OUT, withTimeout, withTimeoutOrThrow } from "@multiproc/core/internal";
import type { Progress } from "../options.ts";
import { continueTrace } from "./stack-trace.ts";

/** Work that can be cancelled. */
export interface Cancellable {
  cancel(reason: unknown): void;
}

/** The work behind an `AsyncResult`, as the result sees it. */
export interface Work extends Cancellable {
  readonly isPending: boolean;
  readonly isFulfilled: boolean;
  progress(): Progress;
}

/** Returns the progress of work of which `done` of `total` items are done. */
export function progressOf(done: number, total: number, startedAt: number): Progress {
  const elapsed = performance.now() - startedAt;
  const rate = done / elapsed;
  return { done, total, elapsed, rate: rate * 1000, timeLeft: done === total ? 0 : (total - done) / rate };
}

const returnTrue = (): true => true;

/**
 * The result of a call to a pool: a promise with the methods of Python's `AsyncResult`.
 *
 * If a task fails and nothing handles the rejection, it is ignored, as in Python. A mistake in the
 * call itself, such as a wrong argument, is an unhandled rejection like any other.
 *
 * @typeParam R the type of the result
 *
 * @example Await a result, or look at its state
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
  readonly #work: Work;

  /** @internal */
  constructor(work: Work) {
    super(captureSettle);
    this.#work = work;
  }

  /**
   * Waits for the result.
   *
   * @param options limits of the wait
   * @throws {TimeoutError} if the timeout expires; the work continues
   * @throws the error of the task
   */
  async get(options: WaitOptions = {}): Promise<R> {
    checkWaitOptions("get()", options);
    try {
      return await withTimeoutOrThrow(this, "get()", options);
    } catch (error) {
      throw continueTrace(error);
    }
  }

  /**
   * Waits until the work has ended, whether it succeeded or failed.
   *
   * @param options limits of the wait
   * @returns true, or false if the timeout expired
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    checkWaitOptions("wait()", options);
    const settled = this.then(returnTrue, returnTrue);
    return (await withTimeout(settled, "wait()", options)) !== TIMED_OUT;
  }

  /** Returns whether the work has ended. */
  ready(): boolean {
    return !this.#work.isPending;
  }

  /**
   * Returns whether the work succeeded.
   *
   * @throws {ProcessError} if it has not ended
   */
  successful(): boolean {
    if (this.#work.isPending) {
      throw new ProcessError("successful() was called before the result was ready: await the result, or ask ready()", {
        code: "ERR_NOT_READY",
      });
    }
    return this.#work.isFulfilled;
  }

  /** Returns the progress of the work. */
  progress(): Progress {
    return this.#work.progress();
  }

  /**
   * Cancels the work. A task that still waits is never run. A running task sees
   * `currentTask().signal` aborted; if it continues for longer than the pool's `gracePeriod`, its
   * worker is killed and replaced.
   *
   * @param reason the reason with which the result rejects
   * @default reason an AbortError
   */
  cancel(reason: unknown = new DOMException("The task was cancelled", "AbortError")): void {
    this.#work.cancel(reason);
  }
}

// `then()` of a result makes a plain promise. The engine also awaits a promise whose constructor is
// `Promise` directly; for a subclass it would make two more promises, the largest cost of a short
// call.
Object.defineProperty(AsyncResult.prototype, "constructor", { value: Promise, configurable: true, writable: true });

/** Settles a promise with a value, or like another promise. */
type Settle<R> = (value: R | Promise<R>) => void;

/** The function that settles the latest promise. A closure for each promise would cost more. */
let lastSettle: Settle<unknown> | undefined;

function captureSettle(settle: Settle<never>): void {
  lastSettle = settle as Settle<unknown>;
}

/**
 * The time at which the current microtask turn began. One reading of the clock serves all calls of
 * a turn.
 */
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

/** The owner of an {@link AsyncResult}. It settles once: later values and errors are ignored. */
export abstract class Deferred<R> implements Work {
  /** The promise that the user gets. */
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
    this.#settle = undefined; // before settle(), which reads `then` of the value: a getter may call this again
    settle(value);
  }

  /** Rejects with the failure of a task, which is ignored if nothing handles it. */
  reject(reason: unknown): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(rejectWithTrace(this.promise, reason));
  }

  /**
   * Rejects with a mistake of the caller, which is an unhandled rejection if nothing handles it.
   */
  rejectMistake(error: unknown): void {
    const settle = this.#settle;
    this.#settle = undefined;
    settle?.(Promise.reject(error));
  }

  /** Returns the progress of work with one item; a map overrides it. */
  progress(): Progress {
    return progressOf(this.isPending ? 0 : 1, 1, this.#turnStart.at);
  }
}

/** A call that was refused before it became work. */
class RefusedCall extends Deferred<never> {
  cancel(): void {}
}

/** Returns the result of a call that was refused for a mistake of the caller. */
export function refusedResult(error: unknown): AsyncResult<never> {
  const call = new RefusedCall();
  call.rejectMistake(error);
  return call.promise;
}

/**
 * Rejects with the error of a task. The trace is continued a few microtasks later, when the engine
 * knows which function awaits the promise that rejects with this one.
 */
async function rejectWithTrace(promise: Promise<unknown>, reason: unknown): Promise<never> {
  // One microtask links the two promises; two more link a promise such as Promise.all() that waits
  // for them.
  for (let i = 0; i < 3; i++) await undefined;
  const error = continueTrace(reason);
  // This handler makes an unhandled failure silent. If it were attached earlier, the engine would
  // take it for the function that awaits the result.
  promise.then(undefined, () => {});
  throw error;
}
