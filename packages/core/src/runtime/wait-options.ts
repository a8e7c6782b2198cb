/**
 * The options `timeout` and `signal`, which every wait of this library takes.
 *
 * A call that returns a promise waits with {@link withTimeout}, which rejects if an option is
 * invalid. A call that blocks its thread uses {@link checkWaitOptions}, which throws.
 */
import { TimeoutError } from "../errors.ts";
import { host } from "../host/mod.ts";
import { checkOptions, describeValue } from "./check-options.ts";

/**
 * Options that end a wait early.
 *
 * @example Cancel a wait
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
  /** Ends the wait when it is aborted. The call rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/**
 * The longest delay of a timer on Node and Deno, 25 days. A timer with a longer delay fires at
 * once.
 */
export const MAX_TIMER_MS: number = 2 ** 31 - 1;

/**
 * The result of a wait whose timeout expired. It differs from every value that a wait can return.
 */
export const TIMED_OUT: unique symbol = Symbol("timed out") as never;

/**
 * Waits for a promise until the timeout expires or the signal is aborted. The work behind the
 * promise continues; the caller cancels it if needed.
 *
 * @param call the call as the user writes it, for errors
 * @returns a promise of the value, or of {@link TIMED_OUT}. It rejects with the signal's reason,
 * and if an option is invalid.
 */
export function withTimeout<T>(promise: Promise<T>, call: string, options: WaitOptions): Promise<T | typeof TIMED_OUT> {
  const { timeout, signal } = options;
  if (timeout === undefined && (signal === undefined || signal === null)) return promise;
  return new Promise((resolve, reject) => {
    const abort = (): void => settle(() => reject(signal?.reason));
    let cancel: (() => void) | undefined;
    const settle = (run: () => void): void => {
      cancel?.();
      signal?.removeEventListener?.("abort", abort);
      run();
    };
    // The handlers are attached before anything can end this wait. A later rejection of the promise
    // is therefore never reported as unhandled.
    promise.then(
      (value) => settle(() => resolve(value)),
      (error) => settle(() => reject(error)),
    );
    checkTimeoutAndSignal(call, options);
    if (signal?.aborted) return abort();
    // A timeout that is too long for a timer never expires.
    const isLimited = timeout !== undefined && timeout <= MAX_TIMER_MS;
    if (isLimited) cancel = host.timer(() => settle(() => resolve(TIMED_OUT)), timeout, true);
    signal?.addEventListener("abort", abort, { once: true });
  });
}

/**
 * Waits like {@link withTimeout}, for a call that reports an expired timeout as an error.
 *
 * @throws {TimeoutError} if the timeout expired
 */
export async function withTimeoutOrThrow<T>(promise: Promise<T>, call: string, options: WaitOptions): Promise<T> {
  const value = await withTimeout(promise, call, options);
  if (value === TIMED_OUT) throw new TimeoutError(call, options.timeout as number);
  return value;
}

const WAIT_OPTIONS: readonly string[] = ["timeout", "signal"];

/**
 * Checks the options of a call that waits: their names and their values.
 *
 * @param call the call as the user writes it, for the error
 * @param known the names of all options of the call
 * @default known timeout and signal
 * @throws {TypeError} for an unknown option, and for a signal that is not an `AbortSignal`
 * @throws {RangeError} for a timeout that is not a duration
 */
export function checkWaitOptions(call: string, options: WaitOptions, known: readonly string[] = WAIT_OPTIONS): void {
  checkOptions(call, options, known);
  checkTimeoutAndSignal(call, options);
}

/** Checks the values of the options of a wait. As in `fetch()`, `null` means no signal. */
export function checkTimeoutAndSignal(call: string, { timeout, signal }: WaitOptions): void {
  checkTimeout(call, timeout);
  if (signal === undefined || signal === null || typeof signal.addEventListener === "function") return;
  const isController = signal instanceof AbortController;
  throw new TypeError(
    `${call} takes an AbortSignal as signal, ${isController ? "not an AbortController: pass its signal property" : `such as controller.signal, not ${describeValue(signal)}`}`,
  );
}

/** Checks a timeout. @throws {RangeError} if it is not a duration */
export function checkTimeout(call: string, timeout: number | undefined): void {
  if (timeout !== undefined && !(typeof timeout === "number" && timeout >= 0))
    throw new RangeError(`${call} takes a timeout of 0 or more milliseconds, not ${String(timeout)}`);
}

/**
 * Keeps the program alive while {@link KeepAlive.active} is set. A wait needs it if no open socket
 * keeps the program alive.
 */
export class KeepAlive {
  #cancelTimer: (() => void) | undefined;

  set active(active: boolean) {
    if (active) this.#cancelTimer ??= host.timer(() => this.#renew(), MAX_TIMER_MS, true);
    else {
      this.#cancelTimer?.();
      this.#cancelTimer = undefined;
    }
  }

  #renew(): void {
    this.#cancelTimer = undefined;
    this.active = true;
  }
}
