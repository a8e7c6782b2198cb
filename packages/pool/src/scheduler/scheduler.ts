/**
 * The scheduler of a pool: a pure state machine without processes, promises or a clock of its own.
 * Events come in as calls, effects go out as commands.
 *
 * ```text
 *             submit()                    ready()                answered()
 *   task ───────────────> queue ──────────────────────> worker ──────────────> done
 *                           ^                              │
 *                           └────────── lost() ────────────┤ its other tasks
 *                                                          └──> fail(): the task it ran
 * ```
 *
 * **Prefetch.** A worker gets one task at a time, unless tasks are shorter than a round trip. Then
 * tasks are sent ahead, up to 1024 in flight but never more than a millisecond of expected work. A
 * task of unknown duration counts as long. If a prefetched task stalls the tasks behind it, these
 * are recalled.
 *
 * **Work stealing.** When a worker is idle and the queue is empty, the worker with the most work
 * left is asked to split its chunk: it keeps half of the items that have not begun, and the rest
 * becomes a task for the idle worker. So neither the chunk size nor slow items matter much.
 *
 * **Retry.** A worker runs its tasks in order. When it is lost, its first task without a result was
 * running. Two cases are uncertain: that task may not have begun, or, in batched mode, its result
 * may be lost (see `protocol.ts`). In these cases it is requeued like the tasks behind it. If a
 * result may be lost, the task runs in sync mode the next time. A task that was certainly running
 * is retried only if its `retries` allow it.
 *
 * **Timeouts.** A timer ends items that exceed their timeout, and kills a worker that does
 * not stop a cancelled task within the grace period.
 */
import type { SchedulerCommands, SchedulerOptions } from "./scheduler-commands.ts";
import { type LazyTask, Task, type TaskSource, takeNext } from "./task.ts";
import { TaskQueue } from "./task-queue.ts";
import { MIN_SPLIT_MS, WorkerSet } from "./worker-set.ts";
import type { WorkerSlot } from "./worker-slot.ts";

/** A task whose worker was lost before it began is requeued this often without using up `retries`. */
const MAX_NOT_STARTED_COUNT = 3;
/** How long prefetched tasks wait behind a slow one before they are recalled, in milliseconds. */
const STALL_MS = 5;
/** Dispatches tasks to workers; see the head of this file. */
export class Scheduler<T extends Task, L> {
  /** Tasks that are queued or in flight, without cancelled ones. */
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

  /** The slots of all workers that have not ended. */
  get slots(): ReadonlySet<WorkerSlot<T, L>> {
    return this.#workerSet.slots;
  }

  /** The number of tasks that wait for a worker. */
  get queuedCount(): number {
    return this.#queue.size;
  }

  /** Starts the workers that are missing. */
  startMissing(): void {
    this.#workerSet.startMissing();
  }

  /** Dispatches a task or a source of tasks: to workers with room, or to the queue. */
  submit(source: TaskSource<T>): void {
    if (source instanceof Task) source.state = "queued";
    const { remaining } = source;
    if (this.#workerSet.isClosed) {
      for (let i = 0; i < remaining; i++) this.#reject(source.take());
      return;
    }
    this.pendingCount += remaining;
    this.#workerSet.retryStart();
    // If the queue is not empty, no worker has room.
    if (this.#queue.peek() !== undefined) return this.#queue.push(source);
    for (let i = 0; i < remaining; i++) {
      const slot = this.#workerSet.leastLoaded(source);
      if (slot === undefined) return this.#queue.push(source);
      this.#send(slot, takeNext(source));
    }
  }

  /** Cancels the tasks left in a queued source. */
  cancelQueued(source: TaskSource<T>): void {
    this.pendingCount -= source.remaining;
    source.clear();
  }

  /** All sources in the queue, and all tasks in flight. */
  get all(): TaskSource<T>[] {
    return [...this.#queue.all, ...[...this.slots].flatMap((slot) => slot.tasks)];
  }

  /** Event: a worker is ready for tasks. */
  ready(slot: WorkerSlot<T, L>): void {
    if (slot.state !== "starting") return;
    this.#workerSet.ready(slot);
    this.#fill(slot);
  }

  /** Event: a worker has sent BEGIN for its first task. */
  began(slot: WorkerSlot<T, L>): void {
    const { running: task } = slot;
    if (task !== undefined) task.hasBegun = true;
  }

  /**
   * Event: a worker has sent results of its running task.
   *
   * @param ms the average duration of the items
   * @param isLast whether the task is done
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
   * Event: a worker has sent a batch of results, each of a task with one item.
   *
   * @param ms the average duration of the tasks
   * @returns the tasks as they were sent. A task object is `done` now, unless it was cancelled.
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
   * Event: a worker has ended, or could not start.
   *
   * @param complete whether all its replies have arrived
   * @param isFatal whether other workers would fail in the same way
   */
  lost(slot: WorkerSlot<T, L>, complete: boolean, isFatal = false): void {
    if (!this.slots.has(slot)) return;
    this.#workerSet.markGone(slot);
    const { running } = slot;
    // The running task fails before the slot is removed: its job may cancel its other tasks now,
    // and must find those in the slot.
    if (running !== undefined && this.#failsWithWorker(running, slot, complete)) slot.remove(0);
    this.#workerSet.slots.delete(slot);
    for (const task of slot.removeAll()) this.#requeue(task, complete);
    if (this.#workerSet.isClosed) return;
    if (isFatal || this.#workerSet.cannotStart(this.pendingCount > 0)) return this.#failPool();
    this.startMissing();
    for (const other of this.slots) this.#fill(other);
  }

  /**
   * Cancels a task.
   *
   * @param cancelRunning whether its worker is asked to stop it, and is killed if it does not stop
   * in time
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

  /** Event: a worker gives back a recalled task that has not begun. */
  returned(slot: WorkerSlot<T, L>, sequence: number): void {
    const at = slot.tasks.findIndex((task) => task.sequence === sequence);
    if (at < 0) return;
    slot.returnedCount++;
    this.#requeue(slot.remove(at), true);
    for (const other of this.slots) this.#fill(other);
  }

  /** Event: a worker has split its running task, and will not run the items from `from` on. */
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

  /** Event: a worker is over its memory limit. It is replaced after its tasks. */
  overLimit(slot: WorkerSlot<T, L>): void {
    slot.isOverLimit = true;
    if (slot.state === "ready" && slot.count === 0) this.#workerSet.replace(slot);
  }

  /** Event: the timer has expired. Checks timeouts, grace periods, stalls and idle workers. */
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

  /** Stops all workers. No task may be pending, and none may follow. */
  finish(): void {
    if (this.#workerSet.isClosed) return;
    this.#workerSet.isClosed = true;
    for (const slot of [...this.slots]) this.#workerSet.stop(slot);
  }

  /** Ends all workers now, and rejects all tasks. */
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

  /** Sends more tasks to a worker that has completed `count` tasks, or replaces it. */
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

  /** Settles the running task of a lost worker. @returns false if it goes back to the queue */
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

  /** Puts a task back into the queue, in front of all new tasks. */
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
   * Sends tasks to a worker while it has room, but only after half of its tasks are done. If each
   * result were followed by one task, batches would become ever smaller.
   */
  #fill(slot: WorkerSlot<T, L>): void {
    if (slot.state !== "ready" || slot.count * 2 > slot.highWater) return;
    const queue = this.#queue;
    for (let next = queue.peek(); next !== undefined && this.#workerSet.hasRoom(slot, next); next = queue.peek()) {
      this.#send(slot, queue.take());
    }
    if (slot.count === 0) this.#stealForIdle();
  }

  /** Steals work for idle workers: asks as many busy workers to split their running task. */
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
      slot.doneCountSeen = -1;
      this.#setTimer(this.#now() + STALL_MS);
    }
    if (!(task instanceof Task)) return this.#commands.sendLazyTask(slot, task);
    task.state = "sent";
    task.slot = slot;
    task.ackMode = task.requiredAckMode;
    task.answeredWhenSent = task.answeredCount;
    task.hasBegun = false;
    task.sequence = slot.sentCount - 1;
    if (task.itemCount > 1) this.#setTimer(this.#now() + MIN_SPLIT_MS); // from then on, idle workers can steal from it
    if (slot.count === 1) this.#startTimer(slot);
    this.#commands.send(slot, task);
  }

  /** Starts the timeout of the running item, or the grace period of a cancelled running task. */
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

  /** Sets the timer for the timeout or the kill deadline of a worker, if that is earlier. */
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

  /** Recalls tasks that wait behind a slow one, so that other workers can run them. */
  #recallStalled(slot: WorkerSlot<T, L>): void {
    if (slot.count < 2 || slot.isStalled) return;
    if (slot.doneCount === slot.doneCountSeen && this.#workerSet.activeCount > 1) {
      slot.isStalled = true;
      this.#commands.recall(slot, slot.tasks.slice(1));
    } else this.#setTimer(this.#now() + STALL_MS);
    slot.doneCountSeen = slot.doneCount;
  }
}
