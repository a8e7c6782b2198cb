/** How every wait of this library can end: with its value, by its time-out, or by its signal. */
import { TimeoutError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { checkOptions } from "./check-options.ts";

/**
 * How a wait can be ended early.
 *
 * @example A wait that can be given up
 * ```ts
 * import { pipe } from "@multiproc/pipe";
 *
 * const [here] = pipe();
 * const controller = new AbortController();
 * const waiting = here.recv({ timeout: 10_000, signal: controller.signal });
 * controller.abort("enough");
 * console.log(await waiting.catch((reason: unknown) => reason)); // enough
 * ```
 */
export interface WaitOptions {
  /** How long to wait, in milliseconds. @default forever */
  readonly timeout?: number | undefined;
  /** Ends the wait with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** The most milliseconds that a timer of the hosts can wait. */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/** A time-out that ran out, told apart from every value. */
export const TIMED_OUT: unique symbol = Symbol("timed out") as never;

/**
 * Waits for a promise no longer than allowed. The promise itself goes on; whoever made it takes back what it still asks for.
 *
 * @param call the call as the user wrote it, for errors
 * @returns the value, or {@link TIMED_OUT}
 * @throws {RangeError} for a time-out that is no duration
 * @throws the signal's reason
 */
export function withTimeout<T>(promise: Promise<T>, call: string, options: WaitOptions): Promise<T | typeof TIMED_OUT> {
  const { timeout, signal } = options;
  if (timeout === undefined && signal === undefined) return promise;
  checkTimeout(call, timeout);
  if (signal?.aborted) return Promise.reject(signal.reason);
  return new Promise((resolve, reject) => {
    // A timer holds 31 bits; a longer wait is as good as forever.
    const isLimited = timeout !== undefined && timeout < 2 ** 31;
    const cancel = isLimited ? host.timer(() => settle(() => resolve(TIMED_OUT)), timeout, true) : undefined;
    const abort = (): void => settle(() => reject(signal?.reason));
    signal?.addEventListener("abort", abort, { once: true });
    const settle = (run: () => void): void => {
      cancel?.();
      signal?.removeEventListener("abort", abort);
      run();
    };
    promise.then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
  });
}

/**
 * Like {@link withTimeout}, for calls whose time-out is an error.
 *
 * @throws {TimeoutError} when the time ran out
 */
export async function withTimeoutOrThrow<T>(promise: Promise<T>, call: string, options: WaitOptions): Promise<T> {
  const value = await withTimeout(promise, call, options);
  if (value === TIMED_OUT) throw new TimeoutError(call, options.timeout as number);
  return value;
}

const WAIT_OPTIONS: readonly string[] = ["timeout", "signal"];

/**
 * Checks the options of a call that waits.
 *
 * @param known the names of all options of the call, if it has more than a wait has
 * @throws {TypeError} for an unknown option, and for a signal that is not an `AbortSignal`
 * @throws {RangeError} for a `timeout` that is not a duration
 */
export function checkWaitOptions(call: string, options: WaitOptions, known: readonly string[] = WAIT_OPTIONS): void {
  checkOptions(call, options, known);
  checkTimeout(call, options.timeout);
  const { signal } = options;
  // `null` means no signal, as in fetch().
  if (signal !== undefined && signal !== null && typeof signal.addEventListener !== "function")
    throw new TypeError(`${call} takes an AbortSignal as signal, such as controller.signal, not ${String(signal)}`);
}

/** Refuses a time-out that is no duration. */
export function checkTimeout(call: string, timeout: number | undefined): void {
  if (timeout !== undefined && !(typeof timeout === "number" && timeout >= 0)) {
    throw new RangeError(`${call} takes a timeout of 0 or more milliseconds, not ${String(timeout)}`);
  }
}

/** Keeps the program alive while that is needed, where nothing that the system watches does. */
export class KeepAlive {
  #cancelTimer: (() => void) | undefined;

  set active(active: boolean) {
    if (active) this.#cancelTimer ??= host.timer(() => {}, MAX_TIMER_MS, true);
    else {
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
    }
  }
}
