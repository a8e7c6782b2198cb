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
import type { SchedulerCommands, SchedulerOptions } from "./scheduler-commands.ts";
import { type LazyTask, Task, type TaskSource, takeNext } from "./task.ts";
import { TaskQueue } from "./task-queue.ts";
import { MIN_SPLIT_MS, WorkerSet } from "./worker-set.ts";
import type { WorkerSlot } from "./worker-slot.ts";

/** How often a task is sent again after its worker was lost before it began. */
const MAX_NOT_STARTED_COUNT = 3;
/** How long tasks wait behind one that takes longer than it should before they are asked back, in milliseconds. */
const STALL_MS = 5;
/** Decides; see the head of this file. */
export class Scheduler<T extends Task, L> {
  /** Tasks that somebody waits for. */
  pendingCount = 0;
  readonly #workerSet: WorkerSet<T, L>;
  readonly #options: SchedulerOptions;
  readonly #commands: SchedulerCommands<T, L>;
  readonly #now: () => number;
  readonly #queue: TaskQueue<T> = new TaskQueue();
  #timerAt: number = Number.POSITIVE_INFINITY;

  constructor(options: SchedulerOptions, commands: SchedulerCommands<T, L>, now: () => number) {
    this.#options = options;
    this.#commands = commands;
    this.#now = now;
    this.#workerSet = new WorkerSet(options, commands, now);
  }

  /** The places of all workers that have not ended. */
  get slots(): ReadonlySet<WorkerSlot<T, L>> {
    return this.#workerSet.slots;
  }

  /** How many tasks wait for a worker. */
  get queuedCount(): number {
    return this.#queue.size;
  }

  /** Starts the workers that are missing. */
  startMissing(): void {
    this.#workerSet.startMissing();
  }

  /** A new task, or what makes new tasks when they can be sent. */
  submit(source: TaskSource<T>): void {
    if (source instanceof Task) source.state = "queued";
    const { remaining } = source;
    if (this.#workerSet.isClosed) {
      for (let i = 0; i < remaining; i++) this.#reject(source.take());
      return;
    }
    this.pendingCount += remaining;
    this.#workerSet.retryStart();
    // While others wait before it, nobody has room.
    if (this.#queue.peek() !== undefined) return this.#queue.push(source);
    for (let i = 0; i < remaining; i++) {
      const slot = this.#workerSet.leastLoaded(source);
      if (slot === undefined) return this.#queue.push(source);
      this.#send(slot, takeNext(source));
    }
  }

  /** Nobody wants what is left in something that waits. */
  cancelQueued(source: TaskSource<T>): void {
    this.pendingCount -= source.remaining;
    source.clear();
  }

  /** All that waits, and all tasks that were sent. */
  get all(): TaskSource<T>[] {
    return [...this.#queue.all, ...[...this.slots].flatMap((slot) => slot.tasks)];
  }

  /** A worker is there. */
  ready(slot: WorkerSlot<T, L>): void {
    if (slot.state !== "starting") return;
    this.#workerSet.ready(slot);
    this.#fill(slot);
  }

  /** A worker begins with a task of which it was to say so. */
  began(slot: WorkerSlot<T, L>): void {
    const { running: task } = slot;
    if (task !== undefined) task.hasBegun = true;
  }

  /**
   * A worker has answered items of its running task.
   *
   * @param ms how long one of them took
   * @param isLast whether it is done with the task
   */
  answered(slot: WorkerSlot<T, L>, itemCount: number, ms: number, isLast: boolean): void {
    const { running: task } = slot;
    if (task === undefined) return;
    task.answeredCount += itemCount;
    if (itemCount > 0) task.estimate.record(ms, itemCount);
    if (!isLast) return this.#startTimer(slot);
    slot.remove(0);
    if (task.state === "sent") this.pendingCount--;
    task.state = "done";
    this.#tasksDone(slot, 1);
  }

  /**
   * A worker has answered so many of its tasks, each of which has one item.
   *
   * @param ms how long one of them took
   * @returns the tasks, as they were sent; those that were made and that somebody waited for are `done`
   */
  answeredAll(slot: WorkerSlot<T, L>, count: number, ms: number): (T | LazyTask<T>)[] {
    const tasks = slot.removeFirst(count);
    for (const task of tasks) {
      if (task instanceof Task) {
        task.answeredCount = task.itemCount;
        if (task.state !== "sent") continue;
        task.state = "done";
      }
      this.pendingCount--;
    }
    tasks[0]?.estimate.record(ms, tasks.length);
    this.#tasksDone(slot, tasks.length);
    return tasks;
  }

  /**
   * A worker is gone, or did not start.
   *
   * @param told whether all that it answered has arrived for certain
   * @param isFatal whether others would fare no better
   */
  lost(slot: WorkerSlot<T, L>, complete: boolean, isFatal = false): void {
    if (!this.slots.has(slot)) return;
    this.#workerSet.markGone(slot);
    const { running } = slot;
    // Whose task has failed may drop the others, and is to find them here.
    if (running !== undefined && this.#failsWithWorker(running, slot, complete)) slot.remove(0);
    this.#workerSet.slots.delete(slot);
    for (const task of slot.removeAll()) this.#requeue(task, complete);
    if (this.#workerSet.isClosed) return;
    if (isFatal || this.#workerSet.cannotStart(this.pendingCount > 0)) return this.#failPool();
    this.startMissing();
    for (const other of this.slots) this.#fill(other);
  }

  /**
   * Nobody wants the answer to a task any more.
   *
   * @param isHard whether a worker that has it is told, and, if it runs it and does not stop in time, is killed
   */
  cancel(task: T, cancelRunning: boolean): void {
    const { slot } = task;
    if (task.state === "queued") {
      this.cancelQueued(task);
    } else if (task.state === "sent" && slot !== undefined) {
      this.pendingCount--;
      task.state = "cancelled";
      task.cancelRunning = cancelRunning;
      if (!cancelRunning) return;
      this.#commands.cancel(slot as WorkerSlot<T, L>, task);
      if (slot.head === task) this.#startTimer(slot as WorkerSlot<T, L>);
    }
  }

  /** A worker gives a task back that it has not begun. */
  returned(slot: WorkerSlot<T, L>, ordinal: number): void {
    const at = slot.tasks.findIndex((task) => task.sequence === ordinal);
    if (at < 0) return;
    slot.returnedCount++;
    this.#requeue(slot.remove(at), true);
    for (const other of this.slots) this.#fill(other);
  }

  /** A worker leaves the items of its running task from one on to others; none, if that is their number. */
  split(slot: WorkerSlot<T, L>, from: number): void {
    const { running: task } = slot;
    if (task === undefined) return;
    slot.isSplitting = false;
    if (from >= task.itemCount) task.isOnLastItem = true;
    if (from >= task.itemCount || task.state !== "sent") return;
    const rest = this.#commands.cloneForRest(task);
    task.splitInto(rest, from);
    this.pendingCount++;
    rest.state = "queued";
    this.#queue.putBack(rest);
    for (const other of this.slots) this.#fill(other);
  }

  /** A worker is to do no more than it has: another takes its place then. */
  overLimit(slot: WorkerSlot<T, L>): void {
    slot.isOverLimit = true;
    if (slot.state === "ready" && slot.count === 0) this.#workerSet.replace(slot);
  }

  /** The time of an alarm has come. */
  tick(): void {
    this.#timerAt = Number.POSITIVE_INFINITY;
    const now = this.#now();
    for (const slot of [...this.slots]) {
      const { running: task } = slot;
      if (now >= slot.killDeadline) {
        slot.killDeadline = Number.POSITIVE_INFINITY;
        slot.state = "stopping";
        this.#commands.kill(slot);
      } else if (task?.state === "sent" && task.timeout !== undefined && now >= slot.itemStartedAt + task.timeout) {
        this.#commands.timeOut(task, slot);
        this.cancel(task, true);
      } else this.#requestTimer(slot);
      this.#recallStalled(slot);
    }
    this.#stealForIdle();
  }

  /** No more tasks will come, and none are pending: the workers end. */
  finish(): void {
    if (this.#workerSet.isClosed) return;
    this.#workerSet.isClosed = true;
    for (const slot of [...this.slots]) this.#workerSet.stop(slot);
  }

  /** Ends all at once. */
  terminate(): void {
    this.#workerSet.isClosed = true;
    const unfinished = this.#queue.drain();
    for (const slot of [...this.slots]) {
      unfinished.push(...slot.removeAll());
      slot.state = "stopping";
      slot.killDeadline = Number.POSITIVE_INFINITY;
      this.#commands.terminate(slot);
    }
    for (const task of unfinished) {
      if (task.state === "cancelled" || task.state === "done") continue;
      this.pendingCount--;
      this.#reject(task);
    }
  }

  #reject(task: T): void {
    task.state = "done";
    this.#commands.reject(task);
  }

  /** A worker is done with tasks. */
  #tasksDone(slot: WorkerSlot<T, L>, count: number): void {
    slot.isSplitting = false;
    this.#workerSet.recordDone(slot, count);
    slot.isStalled = false;
    slot.killDeadline = Number.POSITIVE_INFINITY;
    this.#startTimer(slot);
    if (slot.count === 0 && this.#workerSet.hasReachedLimit(slot)) this.#workerSet.replace(slot);
    else this.#fill(slot);
  }

  #failPool(): void {
    this.#commands.failPool();
    this.terminate();
  }

  /** Settles what becomes of the first task of a lost worker, if that was the one it ran. */
  #failsWithWorker(task: T, slot: WorkerSlot<T, L>, complete: boolean): boolean {
    if (task.state !== "sent") {
      task.state = "done";
      return true;
    }
    if (!task.wasRunning(complete) && ++task.notStartedCount <= MAX_NOT_STARTED_COUNT) return false;
    if (++task.crashCount <= task.retries) return false;
    this.pendingCount--;
    task.state = "done";
    this.#commands.fail(task, slot);
    return true;
  }

  /** Puts a task of a lost worker back, in front of those that have never been sent. */
  #requeue(task: T, complete: boolean): void {
    task.slot = undefined;
    if (task.state !== "sent") {
      task.state = "done";
      return;
    }
    task.state = "queued";
    if (!complete && task.ackMode === "batched" && (task.itemCount === 1 || task.hasBegun)) task.isSuspect = true;
    this.#queue.putBack(task);
  }

  /**
   * Gives a worker what it has room for; not before half of what it had is done, or tasks would come and go in ever smaller
   * messages.
   */
  #fill(slot: WorkerSlot<T, L>): void {
    if (slot.state !== "ready" || slot.count * 2 > slot.highWater) return;
    const queue = this.#queue;
    for (let next = queue.peek(); next !== undefined && this.#workerSet.hasRoom(slot, next); next = queue.peek()) {
      this.#send(slot, queue.take());
    }
    if (slot.count === 0) this.#stealForIdle();
  }

  /** Has workers share with those that have nothing to do. */
  #stealForIdle(): void {
    if (this.#workerSet.isClosed || this.#queue.peek() !== undefined) return;
    let idleCount = 0;
    for (const slot of this.slots) {
      if (slot.isSplitting) idleCount--;
      else if (slot.state === "ready" && slot.count === 0) idleCount++;
    }
    for (; idleCount > 0; idleCount--) {
      const slot = this.#workerSet.mostStealable((at) => this.#setTimer(at));
      if (slot === undefined) return;
      slot.isSplitting = true;
      this.#commands.split(slot, slot.running as T);
    }
  }

  #send(slot: WorkerSlot<T, L>, task: T | LazyTask<T>): void {
    slot.add(task, task.expectedMs);
    if (slot.count === 2) {
      slot.repliesSeen = -1;
      this.#setTimer(this.#now() + STALL_MS);
    }
    if (!(task instanceof Task)) return this.#commands.sendLazyTask(slot, task);
    task.state = "sent";
    task.slot = slot;
    task.ackMode = task.requiredAckMode;
    task.answeredWhenSent = task.answeredCount;
    task.hasBegun = false;
    task.sequence = slot.sentCount - 1;
    if (task.itemCount > 1) this.#setTimer(this.#now() + MIN_SPLIT_MS); // who is idle by then can have some of it
    if (slot.count === 1) this.#startTimer(slot);
    this.#commands.send(slot, task);
  }

  /** The first task of a worker is its running one from now on, or begins its next item. */
  #startTimer(slot: WorkerSlot<T, L>): void {
    const { head: task } = slot;
    if (!(task instanceof Task)) return;
    if (task.state === "cancelled") {
      if (!task.cancelRunning || slot.killDeadline !== Number.POSITIVE_INFINITY) return;
      slot.killDeadline = this.#now() + this.#options.gracePeriod;
    } else if (task.timeout !== undefined || task.itemCount > 1) {
      slot.itemStartedAt = this.#now();
      if (task.timeout === undefined) return;
    } else return;
    this.#requestTimer(slot);
  }

  /** Asks for an alarm, if this worker needs an earlier one. */
  #requestTimer(slot: WorkerSlot<T, L>): void {
    const { head: task } = slot;
    const isTimed = task instanceof Task && task.state === "sent" && task.timeout !== undefined;
    this.#setTimer(isTimed ? slot.itemStartedAt + (task.timeout as number) : slot.killDeadline);
  }

  #setTimer(at: number): void {
    if (at >= this.#timerAt) return;
    this.#timerAt = at;
    this.#commands.setTimer(at);
  }

  /** Asks tasks back that wait behind one which takes long: others could do them. */
  #recallStalled(slot: WorkerSlot<T, L>): void {
    if (slot.count < 2 || slot.isStalled) return;
    if (slot.replyCount === slot.repliesSeen && this.#workerSet.activeCount > 1) {
      slot.isStalled = true;
      this.#commands.recall(slot, slot.tasks.slice(1));
    } else this.#setTimer(this.#now() + STALL_MS);
    slot.repliesSeen = slot.replyCount;
  }
}
