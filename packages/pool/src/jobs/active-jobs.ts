/**
 * The jobs of a pool that have not ended.
 *
 * A job is one call by the user. The pool needs them for two things: to cancel them when it
 * terminates or breaks, and to know when all work is done.
 */
import type { Dispatcher, JobServices } from "./job.ts";
import type { Cancellable } from "./result.ts";

/** Counts the jobs of a pool, and lists the jobs of `map()` and `imap()`. */
export class ActiveJobs {
  /** The number of jobs that may still submit tasks, or whose tasks are not done. */
  count = 0;
  readonly #dispatcher: Dispatcher;
  readonly #onChange: () => void;
  /** The jobs of `map()` and `imap()`, each with the listener on its signal, if it has one. */
  readonly #listed: Map<Cancellable, { signal: AbortSignal; abort: () => void } | undefined> = new Map();
  /** The services of every call of `apply()` without a signal: one object for all of them. */
  readonly services: JobServices;

  /** @param onChange called when a job has ended */
  constructor(dispatcher: Dispatcher, onChange: () => void) {
    this.#dispatcher = dispatcher;
    this.#onChange = onChange;
    this.services = { dispatcher, done: () => this.#jobDone() };
  }

  /**
   * Returns the services of a job that {@link ActiveJobs.list} will list.
   *
   * @param job returns the job; a function, because the constructor of the job takes the services
   */
  servicesOfListed(job: () => Cancellable): JobServices {
    return {
      dispatcher: this.#dispatcher,
      done: () => {
        const listener = this.#listed.get(job());
        listener?.signal.removeEventListener("abort", listener.abort);
        this.#listed.delete(job());
        this.#jobDone();
      },
    };
  }

  /** Lists a job until it has ended, and cancels it when its signal is aborted. */
  list(job: Cancellable, signal: AbortSignal | null | undefined): void {
    this.count++;
    const listener = signal ? { signal, abort: () => job.cancel(signal.reason) } : undefined;
    this.#listed.set(job, listener);
    if (signal?.aborted) return job.cancel(signal.reason);
    if (listener !== undefined) signal?.addEventListener("abort", listener.abort, { once: true });
  }

  /** Cancels a call of `apply()` when its signal is aborted. Returns the services of its job. */
  servicesWithSignal(job: Cancellable, signal: AbortSignal): JobServices {
    const abort = (): void => job.cancel(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    return {
      dispatcher: this.#dispatcher,
      done: () => {
        signal.removeEventListener("abort", abort);
        this.#jobDone();
      },
    };
  }

  /** Cancels all listed jobs. Calls of `apply()` are not listed: they fail with their tasks. */
  cancelAll(reason: unknown): void {
    for (const job of [...this.#listed.keys()]) job.cancel(reason);
  }

  #jobDone(): void {
    this.count--;
    this.#onChange();
  }
}
