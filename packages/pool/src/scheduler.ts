/**
 * Who does what next: pure state, without processes, promises or clocks.
 *
 * Tasks wait in one queue and are handed out in order. A worker does one after the other; it gets a few ahead, so that it
 * need not wait for the next, but only while its tasks are short: a long one must not hold back others that another worker
 * could do meanwhile. The first task that was sent to a worker and not answered is the one it runs.
 */

/** How much work, in milliseconds, a worker may have before it. */
const AHEAD = 0.5;
/** How many tasks it may have at most. */
const MOST_AHEAD = 32;
/** How far a new measurement moves the average. */
const WEIGHT = 0.2;

/** What the scheduler needs to know of a task. */
export interface Schedulable {
  /** Whether it must be alone with its worker: one that is timed, or may have to be killed. */
  readonly isExclusive: boolean;
}

interface Desk<W, T> {
  readonly worker: W;
  /** Sent and not answered, in order: the first is running. */
  readonly tasks: T[];
  /** When the worker began with the first of them. */
  since: number;
  /** The average time of a task, in milliseconds; undefined before the first. */
  average: number | undefined;
  isRetiring: boolean;
}

/** The state of a pool: tasks that wait, and who has which. */
export class Scheduler<W, T extends Schedulable> {
  readonly #waiting: T[] = [];
  readonly #desks = new Map<W, Desk<W, T>>();

  /** How many tasks wait for a worker. */
  get waiting(): number {
    return this.#waiting.length;
  }

  /** How many tasks workers have. */
  get assigned(): number {
    let count = 0;
    for (const { tasks } of this.#desks.values()) count += tasks.length;
    return count;
  }

  /** A task is to be done. */
  submit(task: T): void {
    this.#waiting.push(task);
  }

  /** A worker is ready for tasks. */
  join(worker: W): void {
    this.#desks.set(worker, { worker, tasks: [], since: 0, average: undefined, isRetiring: false });
  }

  /** A worker gets no more tasks. */
  retire(worker: W): void {
    const desk = this.#desks.get(worker);
    if (desk !== undefined) desk.isRetiring = true;
  }

  /** A worker is gone: the task that it was running, if any. The others it had wait again, before all. */
  leave(worker: W): T | undefined {
    const [running, ...others] = this.#desks.get(worker)?.tasks ?? [];
    this.#desks.delete(worker);
    this.#waiting.unshift(...others);
    return running;
  }

  /** A task goes back to the front of the queue, for another try. */
  again(task: T): void {
    this.#waiting.unshift(task);
  }

  /** A worker has answered its first task at the time `now`, in milliseconds. */
  finish(worker: W, now: number): T | undefined {
    const desk = this.#desks.get(worker);
    const task = desk?.tasks.shift();
    if (desk === undefined || task === undefined) return undefined;
    const time = now - desk.since;
    desk.average = desk.average === undefined ? time : desk.average + (time - desk.average) * WEIGHT;
    desk.since = now;
    return task;
  }

  /** Drops tasks that wait. */
  drop(isUnwanted: (task: T) => boolean): T[] {
    const dropped = this.#waiting.filter(isUnwanted);
    if (dropped.length > 0)
      this.#waiting.splice(0, Number.POSITIVE_INFINITY, ...this.#waiting.filter((task) => !isUnwanted(task)));
    return dropped;
  }

  /** The worker that has a task, and whether it is running it. */
  holder(task: T): { worker: W; isRunning: boolean } | undefined {
    for (const { worker, tasks } of this.#desks.values()) {
      const at = tasks.indexOf(task);
      if (at >= 0) return { worker, isRunning: at === 0 };
    }
    return undefined;
  }

  /** How many tasks a worker has. */
  load(worker: W): number {
    return this.#desks.get(worker)?.tasks.length ?? 0;
  }

  /** Hands out tasks at the time `now`: who gets which, in the order in which they are to be sent. */
  assign(now: number): Array<[worker: W, task: T]> {
    const orders: Array<[W, T]> = [];
    while (this.#waiting.length > 0) {
      const task = this.#waiting[0] as T;
      const desk = this.#free(task);
      if (desk === undefined) break;
      this.#waiting.shift();
      if (desk.tasks.length === 0) desk.since = now;
      desk.tasks.push(task);
      orders.push([desk.worker, task]);
    }
    return orders;
  }

  /** The worker with the least to do that may have one more. */
  #free(task: T): Desk<W, T> | undefined {
    let best: Desk<W, T> | undefined;
    for (const desk of this.#desks.values()) {
      if (desk.isRetiring || desk.tasks.length >= room(desk, task)) continue;
      if (best === undefined || desk.tasks.length < best.tasks.length) best = desk;
    }
    return best;
  }
}

/** How many tasks a worker may have, if the next is `task`. */
function room<W, T extends Schedulable>({ tasks, average }: Desk<W, T>, task: T): number {
  if (task.isExclusive || tasks.some((other) => other.isExclusive) || average === undefined) return 1;
  return Math.min(MOST_AHEAD, 1 + Math.floor(AHEAD / Math.max(average, AHEAD / MOST_AHEAD)));
}
