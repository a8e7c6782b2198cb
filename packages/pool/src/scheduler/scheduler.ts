/**
 * Who does what, and when: the pool's decisions, without processes, promises and timers.
 *
 * Events come in as calls, what follows from them goes out as commands; both are synchronous, and the time is told from
 * outside.
 *
 * ```text
 *             submit()                    ready()                answered()
 *   task ───────────────> queue ──────────────────────> worker ──────────────> done
 *                           ^                              │
 *                           └────────── lost() ────────────┤ its other tasks
 *                                                          └──> fail(): the task it ran
 * ```
 *
 * **Windows.** A worker has one task at a time, unless tasks are so short that the way there and back would take longer than
 * the work: then it is sent up to {@link WINDOW} ahead, but never more than {@link AHEAD_MS} of work. A task of unknown length
 * counts as long.
 *
 * **Sharing.** When a worker has nothing to do, and no task waits, the one with most before it is asked to share: it keeps
 * half of the items of its chunk that it has not begun, and the others become a task of their own. So it does not matter much
 * how inputs were put together, or that some take longer than others.
 *
 * **Blame.** A worker answers its tasks in order. When it is lost, the first one without an answer was running, with two
 * exceptions: it may not have begun, or, where answers travel together, have ended (see `protocol.ts`). In either case it goes
 * back to the queue with the others, and its next worker says exactly what it does.
 */
import { Backlog, type Brief, type Commands, nextOf, type SchedulerOptions, Task, type Waiting } from "./task.ts";
import { SHARE_MS, Staff } from "./worker-set.ts";
import type { Seat } from "./worker-slot.ts";

/** How often a task is sent again after its worker was lost before it began. */
const MAX_MISSES = 3;
/** How long tasks wait behind one that takes longer than it should before they are asked back, in milliseconds. */
const STALL_MS = 5;
/** Decides; see the head of this file. */
export class Scheduler<T extends Task, L> {
  /** Tasks that somebody waits for. */
  pending = 0;
  readonly #staff: Staff<T, L>;
  readonly #options: SchedulerOptions;
  readonly #commands: Commands<T, L>;
  readonly #now: () => number;
  readonly #backlog: Backlog<T> = new Backlog();
  #alarmAt: number = Number.POSITIVE_INFINITY;

  constructor(options: SchedulerOptions, commands: Commands<T, L>, now: () => number) {
    this.#options = options;
    this.#commands = commands;
    this.#now = now;
    this.#staff = new Staff(options, commands, now);
  }

  /** The places of all workers that have not ended. */
  get seats(): ReadonlySet<Seat<T, L>> {
    return this.#staff.seats;
  }

  /** How many tasks wait for a worker. */
  get queued(): number {
    return this.#backlog.size;
  }

  /** Starts the workers that are missing. */
  hire(): void {
    this.#staff.hire();
  }

  /** A worker that was to be started may not be started now. */
  unhire(seat: Seat<T, L>): void {
    this.#staff.seats.delete(seat);
  }

  /** A new task, or what makes new tasks when they can be sent. */
  submit(waiting: Waiting<T>): void {
    if (waiting instanceof Task) waiting.state = "queued";
    const { left } = waiting;
    if (this.#staff.isClosed) {
      for (let i = 0; i < left; i++) this.#abandon(waiting.next());
      return;
    }
    this.pending += left;
    this.#staff.rehire();
    // While others wait before it, nobody has room.
    if (this.#backlog.peek() !== undefined) return this.#backlog.push(waiting);
    for (let i = 0; i < left; i++) {
      const seat = this.#staff.roomiest(waiting);
      if (seat === undefined) return this.#backlog.push(waiting);
      this.#send(seat, nextOf(waiting));
    }
  }

  /** Nobody wants what is left in something that waits. */
  withdraw(waiting: Waiting<T>): void {
    this.pending -= waiting.left;
    waiting.clear();
  }

  /** All that waits, and all tasks that were sent. */
  get all(): Waiting<T>[] {
    return [...this.#backlog.all, ...[...this.seats].flatMap((seat) => seat.tasks)];
  }

  /** A worker is there. */
  ready(seat: Seat<T, L>): void {
    if (seat.state !== "starting") return;
    this.#staff.ready(seat);
    this.#fill(seat);
  }

  /** A worker begins with a task of which it was to say so. */
  began(seat: Seat<T, L>): void {
    const { running: task } = seat;
    if (task !== undefined) task.hasBegun = true;
  }

  /**
   * A worker has answered items of its running task.
   *
   * @param ms how long one of them took
   * @param isLast whether it is done with the task
   */
  answered(seat: Seat<T, L>, items: number, ms: number, isLast: boolean): void {
    const { running: task } = seat;
    if (task === undefined) return;
    task.answered += items;
    if (items > 0) task.estimate.learn(ms, items);
    if (!isLast) return this.#watch(seat);
    seat.remove(0);
    if (task.state === "sent") this.pending--;
    task.state = "done";
    this.#over(seat, 1);
  }

  /**
   * A worker has answered so many of its tasks, each of which has one item.
   *
   * @param ms how long one of them took
   * @returns the tasks, as they were sent; those that were made and that somebody waited for are `done`
   */
  answeredAll(seat: Seat<T, L>, count: number, ms: number): (T | Brief<T>)[] {
    const tasks = seat.removeFirst(count);
    for (const task of tasks) {
      if (task instanceof Task) {
        task.answered = task.items;
        if (task.state !== "sent") continue;
        task.state = "done";
      }
      this.pending--;
    }
    tasks[0]?.estimate.learn(ms, tasks.length);
    this.#over(seat, tasks.length);
    return tasks;
  }

  /**
   * A worker is gone, or did not start.
   *
   * @param told whether all that it answered has arrived for certain
   * @param isFatal whether others would fare no better
   */
  lost(seat: Seat<T, L>, told: boolean, isFatal = false): void {
    if (!this.seats.has(seat)) return;
    this.#staff.lose(seat);
    const { running } = seat;
    // Whose task has failed may drop the others, and is to find them here.
    if (running !== undefined && this.#isBlamed(running, seat, told)) seat.remove(0);
    this.#staff.seats.delete(seat);
    for (const task of seat.removeAll()) this.#return(task, told);
    if (this.#staff.isClosed) return;
    if (isFatal || this.#staff.isHopeless(this.pending > 0)) return this.#giveUp();
    this.hire();
    for (const other of this.seats) this.#fill(other);
  }

  /**
   * Nobody wants the answer to a task any more.
   *
   * @param isHard whether a worker that has it is told, and, if it runs it and does not stop in time, is killed
   */
  drop(task: T, isHard: boolean): void {
    const { seat } = task;
    if (task.state === "queued") {
      this.withdraw(task);
    } else if (task.state === "sent" && seat !== undefined) {
      this.pending--;
      task.state = "dropped";
      task.isHardDrop = isHard;
      if (!isHard) return;
      this.#commands.tell(seat as Seat<T, L>, task);
      if (seat.head === task) this.#watch(seat as Seat<T, L>);
    }
  }

  /** A worker gives a task back that it has not begun. */
  returned(seat: Seat<T, L>, ordinal: number): void {
    const at = seat.tasks.findIndex((task) => task.ordinal === ordinal);
    if (at < 0) return;
    seat.returned++;
    this.#return(seat.remove(at), true);
    for (const other of this.seats) this.#fill(other);
  }

  /** A worker leaves the items of its running task from one on to others; none, if that is their number. */
  shared(seat: Seat<T, L>, from: number): void {
    const { running: task } = seat;
    if (task === undefined) return;
    seat.isSharing = false;
    if (from >= task.items) task.isOnLast = true;
    if (from >= task.items || task.state !== "sent") return;
    const rest = this.#commands.again(task);
    task.handOver(rest, from);
    this.pending++;
    rest.state = "queued";
    this.#backlog.putBack(rest);
    for (const other of this.seats) this.#fill(other);
  }

  /** A worker is to do no more than it has: another takes its place then. */
  spent(seat: Seat<T, L>): void {
    seat.isSpent = true;
    if (seat.state === "ready" && seat.count === 0) this.#staff.retire(seat);
  }

  /** The time of an alarm has come. */
  tick(): void {
    this.#alarmAt = Number.POSITIVE_INFINITY;
    const now = this.#now();
    for (const seat of [...this.seats]) {
      const { running: task } = seat;
      if (now >= seat.killAt) {
        seat.killAt = Number.POSITIVE_INFINITY;
        seat.state = "stopping";
        this.#commands.kill(seat);
      } else if (task?.state === "sent" && task.timeout !== undefined && now >= seat.since + task.timeout) {
        this.#commands.expire(task, seat);
        this.drop(task, true);
      } else this.#announce(seat);
      this.#checkStall(seat);
    }
    this.#spread();
  }

  /** No more tasks will come, and none are pending: the workers end. */
  finish(): void {
    if (this.#staff.isClosed) return;
    this.#staff.isClosed = true;
    for (const seat of [...this.seats]) this.#staff.stop(seat);
  }

  /** Ends all at once. */
  terminate(): void {
    this.#staff.isClosed = true;
    const left = this.#backlog.drain();
    for (const seat of [...this.seats]) {
      left.push(...seat.removeAll());
      seat.state = "stopping";
      seat.killAt = Number.POSITIVE_INFINITY;
      this.#commands.terminate(seat);
    }
    for (const task of left) {
      if (task.state === "dropped" || task.state === "done") continue;
      this.pending--;
      this.#abandon(task);
    }
  }

  #abandon(task: T): void {
    task.state = "done";
    this.#commands.abandon(task);
  }

  /** A worker is done with tasks. */
  #over(seat: Seat<T, L>, count: number): void {
    seat.isSharing = false;
    this.#staff.did(seat, count);
    seat.isStalled = false;
    seat.killAt = Number.POSITIVE_INFINITY;
    this.#watch(seat);
    if (seat.count === 0 && this.#staff.hasItsShare(seat)) this.#staff.retire(seat);
    else this.#fill(seat);
  }

  #giveUp(): void {
    this.#commands.giveUp();
    this.terminate();
  }

  /** Settles what becomes of the first task of a lost worker, if that was the one it ran. */
  #isBlamed(task: T, seat: Seat<T, L>, told: boolean): boolean {
    if (task.state !== "sent") {
      task.state = "done";
      return true;
    }
    if (!task.wasRunning(told) && ++task.misses <= MAX_MISSES) return false;
    if (++task.losses <= task.retries) return false;
    this.pending--;
    task.state = "done";
    this.#commands.fail(task, seat);
    return true;
  }

  /** Puts a task of a lost worker back, in front of those that have never been sent. */
  #return(task: T, told: boolean): void {
    task.seat = undefined;
    if (task.state !== "sent") {
      task.state = "done";
      return;
    }
    task.state = "queued";
    if (!told && task.care === "loose" && (task.items === 1 || task.hasBegun)) task.isSuspect = true;
    this.#backlog.putBack(task);
  }

  /**
   * Gives a worker what it has room for; not before half of what it had is done, or tasks would come and go in ever smaller
   * messages.
   */
  #fill(seat: Seat<T, L>): void {
    if (seat.state !== "ready" || seat.count * 2 > seat.peak) return;
    const backlog = this.#backlog;
    for (let next = backlog.peek(); next !== undefined && this.#staff.hasRoom(seat, next); next = backlog.peek()) {
      this.#send(seat, backlog.take());
    }
    if (seat.count === 0) this.#spread();
  }

  /** Has workers share with those that have nothing to do. */
  #spread(): void {
    if (this.#staff.isClosed || this.#backlog.peek() !== undefined) return;
    let idle = 0;
    for (const seat of this.seats) {
      if (seat.isSharing) idle--;
      else if (seat.state === "ready" && seat.count === 0) idle++;
    }
    for (; idle > 0; idle--) {
      const seat = this.#staff.richest((at) => this.#setAlarm(at));
      if (seat === undefined) return;
      seat.isSharing = true;
      this.#commands.share(seat, seat.running as T);
    }
  }

  #send(seat: Seat<T, L>, task: T | Brief<T>): void {
    seat.add(task, task.expected);
    if (seat.count === 2) {
      seat.answersSeen = -1;
      this.#setAlarm(this.#now() + STALL_MS);
    }
    if (!(task instanceof Task)) return this.#commands.sendBrief(seat, task);
    task.state = "sent";
    task.seat = seat;
    task.care = task.neededCare;
    task.from = task.answered;
    task.hasBegun = false;
    task.ordinal = seat.sent - 1;
    if (task.items > 1) this.#setAlarm(this.#now() + SHARE_MS); // who is idle by then can have some of it
    if (seat.count === 1) this.#watch(seat);
    this.#commands.send(seat, task);
  }

  /** The first task of a worker is its running one from now on, or begins its next item. */
  #watch(seat: Seat<T, L>): void {
    const { head: task } = seat;
    if (!(task instanceof Task)) return;
    if (task.state === "dropped") {
      if (!task.isHardDrop || seat.killAt !== Number.POSITIVE_INFINITY) return;
      seat.killAt = this.#now() + this.#options.graceMs;
    } else if (task.timeout !== undefined || task.items > 1) {
      seat.since = this.#now();
      if (task.timeout === undefined) return;
    } else return;
    this.#announce(seat);
  }

  /** Asks for an alarm, if this worker needs an earlier one. */
  #announce(seat: Seat<T, L>): void {
    const { head: task } = seat;
    const isTimed = task instanceof Task && task.state === "sent" && task.timeout !== undefined;
    this.#setAlarm(isTimed ? seat.since + (task.timeout as number) : seat.killAt);
  }

  #setAlarm(at: number): void {
    if (at >= this.#alarmAt) return;
    this.#alarmAt = at;
    this.#commands.alarm(at);
  }

  /** Asks tasks back that wait behind one which takes long: others could do them. */
  #checkStall(seat: Seat<T, L>): void {
    if (seat.count < 2 || seat.isStalled) return;
    if (seat.answers === seat.answersSeen && this.#staff.working > 1) {
      seat.isStalled = true;
      this.#commands.recall(seat, seat.tasks.slice(1));
    } else this.#setAlarm(this.#now() + STALL_MS);
    seat.answersSeen = seat.answers;
  }
}
