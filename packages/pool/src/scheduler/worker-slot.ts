/** The place of a worker, and what that has to do. */
import { type Brief, Task } from "./task.ts";

/** What the scheduler knows of a worker. */
export class Seat<T extends Task = Task, L = unknown> {
  state: "starting" | "ready" | "stopping" | "gone" = "starting";
  /** How many tasks it was ever sent, and how many of them it gave back. */
  sent = 0;
  returned = 0;
  /** How many tasks it had when it was last given some. */
  peak = 0;
  /** The work and the bytes that wait there. */
  ms = 0;
  bytes = 0;
  /** How many tasks were answered, and how many at the last look. */
  answers = 0;
  answersSeen = 0;
  /** It is to do no more than it has. */
  isSpent = false;
  /** Its running task takes longer than it should: nothing is sent behind it. */
  isStalled = false;
  /** When the running item began, as far as answers tell. */
  since = 0;
  /** It was asked to share its running task, and has not answered. */
  isSharing = false;
  /** When it is killed unless it stops what it does. */
  killAt: number = Number.POSITIVE_INFINITY;
  /** The process itself; the scheduler has no use for it. */
  link: L | undefined;
  /** What was sent and not answered, the running one first, and what each was expected to take, in milliseconds. */
  readonly #line: (T | Brief<T>)[] = [];
  readonly #costs: number[] = [];

  /** How many tasks it has. */
  get count(): number {
    return this.#line.length;
  }

  /** How many of them somebody waits for. */
  get wanted(): number {
    let wanted = 0;
    for (const each of this.#line) if (!(each instanceof Task) || each.state === "sent") wanted++;
    return wanted;
  }

  /** The running task as it was sent. */
  get head(): T | Brief<T> | undefined {
    return this.#line[0];
  }

  /** The running task. */
  get running(): T | undefined {
    return this.#line.length === 0 ? undefined : this.#taskAt(0);
  }

  /** All of its tasks, the running one first. */
  get tasks(): readonly T[] {
    return this.#line.map((_, at) => this.#taskAt(at));
  }

  /** Has a task made of what was sent as it waited, if that was here; and of all others: where one is given up, more mostly are. */
  make(brief: Brief<T>): void {
    if (this.#line.includes(brief)) void this.tasks;
  }

  /** It is sent one more. */
  add(task: T | Brief<T>, cost: number): void {
    this.peak = this.#line.push(task);
    this.#costs.push(cost);
    this.sent++;
    this.ms += cost;
    this.bytes += task.size;
  }

  /** Takes a task from the worker, which has answered it, or given it back. */
  remove(at: number): T {
    const task = this.#taskAt(at);
    this.#line.splice(at, 1);
    this.#discount(task, this.#costs.splice(at, 1)[0] as number);
    return task;
  }

  /** Takes so many of the first tasks from the worker. */
  removeFirst(count: number): (T | Brief<T>)[] {
    const taken = this.#line.splice(0, count);
    const costs = this.#costs.splice(0, count);
    for (let i = 0; i < taken.length; i++) this.#discount(taken[i] as T | Brief<T>, costs[i] as number);
    return taken;
  }

  /** Takes all tasks from the worker. */
  removeAll(): T[] {
    const all = [...this.tasks];
    this.removeFirst(all.length);
    return all;
  }

  #discount(task: T | Brief<T>, cost: number): void {
    this.ms = this.#line.length === 0 ? 0 : this.ms - cost;
    this.bytes -= task.size;
  }

  /** One of them; it is made, if it has not been so far. */
  #taskAt(at: number): T {
    const entry = this.#line[at] as T | Brief<T>;
    if (entry instanceof Task) return entry;
    const task = entry.next();
    task.state = "sent";
    task.seat = this;
    task.care = "loose";
    // Nothing behind it has been taken out: for that, all would have been made.
    task.ordinal = this.sent - (this.#line.length - at);
    this.#line[at] = task;
    return task;
  }
}
