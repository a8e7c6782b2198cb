/** The jobs of a pool that are not over: what gives them up, and what is to be done when they are. */

import type { TaskOptions } from "../options.ts";
import type { Dispatcher, JobServices } from "./job.ts";
import type { Cancellable } from "./result.ts";

/** Keeps book of jobs. */
export class ActiveJobs {
  /** How many jobs may still give tasks to the workers. */
  count = 0;
  readonly #dispatcher: Dispatcher;
  readonly #onChange: () => void;
  /** Jobs that can go on by themselves, without a task under way. */
  readonly #jobs: Set<Cancellable> = new Set();
  /** What ends with a call that nobody can give up by a signal. */
  readonly services: JobServices;

  /**
   * @param office who does the work
   * @param changed called when a job is over
   */
  constructor(dispatcher: Dispatcher, onChange: () => void) {
    this.#dispatcher = dispatcher;
    this.#onChange = onChange;
    this.services = { dispatcher, done: () => this.#jobDone() };
  }

  /** What ends with a job that is kept here from {@link ActiveJobs.add} on. */
  trackJob(job: () => Cancellable, { signal }: TaskOptions): JobServices {
    const services = signal === undefined ? this.services : this.trackSignal(signal, job);
    return {
      dispatcher: this.#dispatcher,
      done: () => {
        this.#jobs.delete(job());
        services.done();
      },
    };
  }

  add(job: Cancellable, { signal }: TaskOptions): void {
    this.#jobs.add(job);
    this.count++;
    if (signal?.aborted) job.cancel(signal.reason);
  }

  /** Gives up all jobs that are kept here; calls fail with their tasks. */
  cancelAll(reason: unknown): void {
    for (const job of [...this.#jobs]) job.cancel(reason);
  }

  /** What ends with a job that a signal can give up. */
  trackSignal(signal: AbortSignal, job: () => Cancellable): JobServices {
    const abort = (): void => job().cancel(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    return {
      dispatcher: this.#dispatcher,
      done: () => {
        signal.removeEventListener("abort", abort);
        this.#jobDone();
      },
    };
  }

  #jobDone(): void {
    this.count--;
    this.#onChange();
  }
}
