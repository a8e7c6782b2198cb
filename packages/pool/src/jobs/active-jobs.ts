/** The jobs of a pool that are not over: what gives them up, and what is to be done when they are. */

import type { TaskOptions } from "../options.ts";
import type { JobEnds, Office } from "./job.ts";
import type { Cancellable } from "./result.ts";

/** Keeps book of jobs. */
export class Register {
  /** How many jobs may still give tasks to the workers. */
  count = 0;
  readonly #office: Office;
  readonly #changed: () => void;
  /** Jobs that can go on by themselves, without a task under way. */
  readonly #jobs: Set<Cancellable> = new Set();
  /** What ends with a call that nobody can give up by a signal. */
  readonly ends: JobEnds;

  /**
   * @param office who does the work
   * @param changed called when a job is over
   */
  constructor(office: Office, changed: () => void) {
    this.#office = office;
    this.#changed = changed;
    this.ends = { office, over: () => this.#over() };
  }

  /** What ends with a job that is kept here from {@link Register.open} on. */
  endsOf(job: () => Cancellable, { signal }: TaskOptions): JobEnds {
    const ends = signal === undefined ? this.ends : this.endsOn(signal, job);
    return {
      office: this.#office,
      over: () => {
        this.#jobs.delete(job());
        ends.over();
      },
    };
  }

  open(job: Cancellable, { signal }: TaskOptions): void {
    this.#jobs.add(job);
    this.count++;
    if (signal?.aborted) job.cancel(signal.reason);
  }

  /** Gives up all jobs that are kept here; calls fail with their tasks. */
  cancelAll(reason: unknown): void {
    for (const job of [...this.#jobs]) job.cancel(reason);
  }

  /** What ends with a job that a signal can give up. */
  endsOn(signal: AbortSignal, job: () => Cancellable): JobEnds {
    const abort = (): void => job().cancel(signal.reason);
    signal.addEventListener("abort", abort, { once: true });
    return {
      office: this.#office,
      over: () => {
        signal.removeEventListener("abort", abort);
        this.#over();
      },
    };
  }

  #over(): void {
    this.count--;
    this.#changed();
  }
}
