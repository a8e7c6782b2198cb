import { ProcessError } from "@multiproc/core";
import { TIMED_OUT, type WaitOptions, within, withinOrThrow } from "@multiproc/core/internal";

/**
 * What a pool will have computed: await it like a promise, or ask it as in Python. A failure that nobody asks for is not
 * reported, as in Python.
 *
 * @typeParam R what is computed
 *
 * @example
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
  readonly #promise: Promise<R>;
  readonly #cancel: (reason: unknown) => void;
  #state: "pending" | "fulfilled" | "rejected" = "pending";

  /** @internal */
  constructor(promise: Promise<R>, cancel: (reason: unknown) => void) {
    this.#promise = promise;
    this.#cancel = cancel;
    promise.then(
      () => {
        this.#state = "fulfilled";
      },
      () => {
        this.#state = "rejected";
      },
    );
  }

  /** As a promise's. */
  // biome-ignore lint/suspicious/noThenProperty: it is awaited like a promise
  then<A = R, B = never>(
    onfulfilled?: ((value: R) => A | PromiseLike<A>) | null,
    onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null,
  ): Promise<A | B> {
    return this.#promise.then(onfulfilled, onrejected);
  }

  /** As a promise's. */
  catch<B = never>(onrejected?: ((reason: unknown) => B | PromiseLike<B>) | null): Promise<R | B> {
    return this.#promise.catch(onrejected);
  }

  /** As a promise's. */
  finally(onfinally?: (() => void) | null): Promise<R> {
    return this.#promise.finally(onfinally);
  }

  /**
   * Waits for the result.
   *
   * @throws {TimeoutError} when the time runs out; the work goes on
   * @throws what the task threw
   */
  get(options: WaitOptions = {}): Promise<R> {
    return withinOrThrow(this.#promise, "get()", options);
  }

  /**
   * Waits until the work is over, whether it succeeded or failed.
   *
   * @returns whether it is; false when the time ran out
   */
  async wait(options: WaitOptions = {}): Promise<boolean> {
    const over = this.#promise.then(
      () => true,
      () => true,
    );
    return (await within(over, "wait()", options)) !== TIMED_OUT;
  }

  /** Whether the work is over. */
  ready(): boolean {
    return this.#state !== "pending";
  }

  /**
   * Whether the work succeeded.
   *
   * @throws {ProcessError} if it is not over
   */
  successful(): boolean {
    if (this.#state === "pending")
      throw new ProcessError("successful() was called before the result was ready", { code: "ERR_NOT_READY" });
    return this.#state === "fulfilled";
  }

  /**
   * Gives the work up: what waits is dropped; what runs sees `currentTask().signal` aborted, and if it goes on for longer than
   * the pool's `graceMs`, its worker is killed and replaced.
   *
   * @param reason what the result is rejected with
   * @default reason an AbortError
   */
  cancel(reason: unknown = new DOMException("The task was cancelled", "AbortError")): void {
    this.#cancel(reason);
  }
}
