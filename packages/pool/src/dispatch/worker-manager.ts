/**
 * The worker manager: carries out the commands of the scheduler, and reports the events of workers
 * to it.
 *
 * It is the `Dispatcher` of jobs: tasks go from a job through the scheduler to a connection, and
 * results come back from the connection to the job.
 */
import { StartError, TimeoutError } from "@multiproc/core";
import { host, isImporting, MAX_TIMER_MS, outsideImports } from "@multiproc/core/internal";
import { PoolEvents } from "../diagnostics.ts";
import { WorkerLostError } from "../errors.ts";
import { ApplyJob } from "../jobs/apply-job.ts";
import { type Dispatcher, type Job, WorkTask } from "../jobs/job.ts";
import { recordOrigin } from "../jobs/stack-trace.ts";
import * as protocol from "../protocol.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import type { SchedulerCommands } from "../scheduler/scheduler-commands.ts";
import type { LazyTask, TaskSource } from "../scheduler/task.ts";
import type { WorkerSlot } from "../scheduler/worker-slot.ts";
import type { WorkerExit, WorkerFactory, WorkerOptions } from "./worker-backend.ts";
import { WorkerConnection, type WorkerConnectionHandlers } from "./worker-connection.ts";

/** Options of a worker manager. */
export interface WorkerManagerOptions {
  readonly processes: number;
  readonly maxTasksPerChild: number | undefined;
  readonly gracePeriod: number;
  /** Options of each worker. The manager adds a number to the name. */
  readonly workerOptions: WorkerOptions;
  readonly createWorker: WorkerFactory;
  /** The initializer and the finalizer of each worker. */
  readonly init: protocol.Init;
  /** Called when no worker can start, with the reason. */
  onBroken(reason: unknown): void;
  /** Called when the number of pending tasks or of workers has changed. */
  onChange(): void;
}

type Slot = WorkerSlot<WorkTask, WorkerConnection>;

/**
 * Before the pool decodes a larger reply, it flushes the next tasks, so the worker need not wait.
 */
const FLUSH_BEFORE_DECODE_BYTES = 16 * 1024;

/** The workers of a pool. */
export class WorkerManager implements Dispatcher {
  /**
   * Tasks that were completed, tasks that failed or were cancelled, and workers that died with
   * tasks.
   */
  readonly counts: { completed: number; failed: number; lost: number } = { completed: 0, failed: 0, lost: 0 };
  readonly #options: WorkerManagerOptions;
  readonly #scheduler: Scheduler<WorkTask, WorkerConnection>;
  readonly #events: PoolEvents;
  #startedCount = 0;
  /** The error for tasks that will never run: why the pool has ended, or no worker can start. */
  #failReason: unknown;
  /** The exit of the worker that was lost last, for the error of its task. */
  #lastExit: WorkerExit | undefined;
  #cancelTimer: () => void = () => {};

  constructor(options: WorkerManagerOptions) {
    this.#options = options;
    this.#scheduler = new Scheduler(options, this.#commands(), () => performance.now());
    // A worker may import a module that creates a pool at its top level. Such a pool starts no
    // workers until a task uses it.
    if (!isImporting()) this.#scheduler.startMissing();
    // After the start of the workers, because loading diagnostics_channel takes some milliseconds
    // on Deno.
    this.#events = new PoolEvents();
  }

  /** The number of workers that have not ended. */
  get size(): number {
    return this.#scheduler.slots.size;
  }

  /** The number of tasks that are queued or in flight, without cancelled ones. */
  get pendingCount(): number {
    return this.#scheduler.pendingCount;
  }

  /** The number of tasks that wait for a worker. */
  get queuedCount(): number {
    return this.#scheduler.queuedCount;
  }

  /** The number of ready workers, and of tasks in flight that are not cancelled. */
  get state(): { workers: number; running: number } {
    let [workers, running] = [0, 0];
    for (const slot of this.#scheduler.slots) {
      if (slot.state === "ready") workers++;
      running += slot.wantedCount;
    }
    return { workers, running };
  }

  submit(source: TaskSource<WorkTask>): void {
    this.#scheduler.submit(source);
    this.#options.onChange();
  }

  cancelQueued(source: TaskSource<WorkTask>): void {
    this.counts.failed += source.remaining;
    this.#scheduler.cancelQueued(source);
    this.#options.onChange();
  }

  get hasSubscribers(): boolean {
    const { taskStart, taskEnd, taskError } = this.#events;
    return taskStart.hasSubscribers || taskEnd.hasSubscribers || taskError.hasSubscribers;
  }

  materialize(lazyTask: LazyTask<WorkTask>): void {
    for (const slot of this.#scheduler.slots) slot.materialize(lazyTask);
  }

  cancel(task: WorkTask, stop?: { readonly reason: unknown }): void {
    if (task.state !== "queued" && task.state !== "sent") return;
    this.counts.failed++;
    task.cancelReason = stop?.reason;
    this.#scheduler.cancel(task, stop !== undefined);
    this.#options.onChange();
  }

  cancelJob(job: Job, stop?: { readonly reason: unknown }, except?: WorkTask): void {
    for (const source of this.#scheduler.all) {
      if ((source as TaskSource<WorkTask> & { readonly job?: Job }).job !== job || source === except) continue;
      if (source instanceof WorkTask) this.cancel(source, stop);
      else this.cancelQueued(source);
    }
  }

  /** Stops all workers. No task may be pending, and none may follow. */
  finish(): void {
    this.#scheduler.finish();
  }

  /** Ends all workers now. Remaining tasks fail with the reason. */
  terminate(reason: unknown): void {
    this.#failReason = reason;
    this.#scheduler.terminate();
    this.#options.onChange();
  }

  #commands(): SchedulerCommands<WorkTask, WorkerConnection> {
    const { gracePeriod, onBroken } = this.#options;
    return {
      start: (slot) => this.#start(slot),
      send: (slot, task) => this.#send(slot, task),
      sendLazyTask: (slot, lazyTask) => slot.connection?.sendLazyTask(lazyTask as ApplyJob),
      cancel: (slot, task) => slot.connection?.cancel(task),
      recall: (slot, tasks) => slot.connection?.recall(tasks),
      split: (slot, task) => slot.connection?.split(task),
      cloneForRest: (task) => task.cloneForRest(),
      stop: (slot) => slot.connection?.stop(),
      kill: (slot) => slot.connection?.kill(),
      terminate: (slot) => slot.connection?.terminate(gracePeriod),
      fail: (task, slot) => this.#fail(task, this.#workerLostError(task, slot)),
      timeOut: (task) =>
        this.#fail(task, (task.cancelReason = new TimeoutError(task.job.call, task.timeout as number))),
      reject: (task) => this.#fail(task, this.#failReason),
      failPool: () => onBroken(this.#failReason),
      setTimer: (at) => this.#setTimer(at),
    };
  }

  #start(slot: Slot): void {
    const { workerOptions, createWorker, init } = this.#options;
    const backend = createWorker({ ...workerOptions, name: `${workerOptions.name}-${++this.#startedCount}` });
    const handlers: WorkerConnectionHandlers = {
      message: (kind, size, read) => this.#receive(slot, kind, size, read),
      exited: (exit) => this.#exited(slot, exit),
    };
    // This start has been allowed. The worker's events must not inherit the async context of an
    // import, in which starts are refused.
    slot.connection = outsideImports(() => new WorkerConnection(backend, init, handlers));
  }

  #send(slot: Slot, task: WorkTask): void {
    if (this.hasSubscribers) {
      const { name } = this.#options.workerOptions;
      const items = task.itemCount - task.answeredCount;
      const { trace } = task;
      task.event = {
        pool: name,
        task: task.fn.name,
        worker: slot.connection?.pid ?? 0,
        items,
        trace,
        from: performance.now(),
      };
      this.#events.taskStart.publish(task.event);
    }
    slot.connection?.send(task);
  }

  #setTimer(at: number): void {
    this.#cancelTimer();
    const onTimer = (): void => {
      this.#scheduler.tick();
      this.#options.onChange();
    };
    this.#cancelTimer = host.timer(onTimer, Math.min(MAX_TIMER_MS, Math.max(0, at - performance.now())), false);
  }

  #workerLostError(task: WorkTask, slot: Slot): WorkerLostError {
    const { exitCode = null, signal = null, stderrTail: stderr = "", error } = this.#lastExit ?? {};
    const cause = error === undefined ? {} : { cause: error };
    return new WorkerLostError(slot.connection?.pid ?? 0, { exitCode, signal, stderr }, task.fn.name, cause);
  }

  #fail(task: WorkTask, error: unknown, at: number = task.firstIndex + task.answeredCount): void {
    this.counts.failed++;
    const { event } = task;
    task.event = undefined;
    if (event !== undefined) this.#events.taskError.publish(Object.assign(event, { error }));
    task.job.failed(task, error, at);
  }

  #completed(task: WorkTask): void {
    this.counts.completed++;
    const { event } = task;
    task.event = undefined;
    if (event !== undefined) this.#events.taskEnd.publish(Object.assign(event, { ms: performance.now() - event.from }));
  }

  #receive(slot: Slot, kind: number, size: number, read: () => unknown): void {
    const replyKind = protocol.replyKind(kind);
    if (replyKind >= protocol.RESULT) {
      this.#handleReply(slot, replyKind, protocol.replyMs(kind), size, read);
    } else {
      const content = attempt(read);
      if (replyKind === protocol.READY) this.#ready(slot);
      else if (replyKind === protocol.OVER_MEMORY) this.#scheduler.overLimit(slot);
      else if (replyKind === protocol.INIT_FAILED) this.#initFailed(slot, content.error ?? content.value);
      else if (replyKind === protocol.BEGIN) return this.#scheduler.began(slot);
      else if (replyKind === protocol.CANCELLED) this.#scheduler.answered(slot, 0, 0, true);
      else if (replyKind === protocol.SPLIT_AT) this.#scheduler.split(slot, content.value as number);
      else for (const sequence of content.value as number[]) this.#scheduler.returned(slot, sequence);
    }
    this.#options.onChange();
  }

  #handleReply(slot: Slot, replyKind: number, ms: number, size: number, read: () => unknown): void {
    const head = slot.head as WorkTask | ApplyJob | undefined;
    const isCall = head instanceof ApplyJob || head?.kind === protocol.CALL;
    if (replyKind === protocol.RESULTS && isCall) return this.#handleCallReplies(slot, ms, read);
    const { running: task } = slot;
    if (task === undefined) return;
    const at = task.firstIndex + task.answeredCount;
    const isFailure = replyKind === protocol.FAILURE;
    const isLast = isFailure || replyKind === protocol.DONE || task.kind === protocol.CALL;
    const isWanted = task.state === "sent";
    if (isLast && !isFailure) {
      // First, so that the worker gets its next tasks before a large result is decoded here.
      this.#scheduler.answered(slot, task.itemCount - task.answeredCount, ms, true);
      if (size > FLUSH_BEFORE_DECODE_BYTES) slot.connection?.flush();
    }
    const { value, error, isError } = attempt(read);
    const count = replyKind === protocol.RESULT ? 1 : isError || isFailure ? 0 : (value as unknown[]).length;
    if (isFailure || isError) {
      const reason = isError ? error : value;
      recordOrigin(reason, `in worker ${slot.connection?.pid}`);
      // The pool could not decode a result. The worker does not know that, and continues its chunk.
      if (!isLast) this.#scheduler.cancel(task, false);
      if (isWanted) this.#fail(task, reason, at);
    } else if (isWanted) {
      if (isLast) this.#completed(task);
      if (replyKind === protocol.RESULT) task.job.result(task, value, at);
      else if (count > 0) task.job.results(task, value as unknown[], at);
    }
    if (isFailure || !isLast) this.#scheduler.answered(slot, count, ms, isLast);
  }

  /** Handles a batch of results of calls. */
  #handleCallReplies(slot: Slot, ms: number, read: () => unknown): void {
    const { value } = attempt(read);
    if (value === undefined) return; // a malformed message has killed the worker
    const values = value as unknown[];
    const tasks = this.#scheduler.answeredAll(slot, values.length, ms);
    for (let i = 0; i < tasks.length; i++) {
      const task = tasks[i] as WorkTask | ApplyJob;
      if (task instanceof ApplyJob) {
        this.counts.completed++;
        task.complete(values[i]);
      } else if (task.state === "done") {
        this.#completed(task);
        task.job.result(task, values[i], task.firstIndex);
      }
    }
  }

  #ready(slot: Slot): void {
    const { workerStart } = this.#events;
    if (workerStart.hasSubscribers) workerStart.publish(this.#workerEvent(slot.connection as WorkerConnection));
    this.#scheduler.ready(slot);
  }

  #workerEvent(connection: WorkerConnection): object {
    return { pool: this.#options.workerOptions.name, worker: connection.pid, name: connection.backend.name };
  }

  /** Fails the pool: the initializer would fail in other workers too. */
  #initFailed(slot: Slot, error: unknown): void {
    this.#failReason = error;
    this.#scheduler.lost(slot, true, true);
    slot.connection?.kill();
  }

  #exited(slot: Slot, exit: WorkerExit): void {
    const { state, count } = slot;
    const { workerEnd } = this.#events;
    if (workerEnd.hasSubscribers) {
      const { exitCode, signal } = exit;
      workerEnd.publish({ ...this.#workerEvent(slot.connection as WorkerConnection), exitCode, signal });
    }
    if (state === "starting") {
      this.#failReason = exit.error ?? earlyExitError(slot.connection as WorkerConnection, exit);
    } else if (state === "ready") {
      this.#failReason = new StartError("The workers of the pool end right after their start", exit);
      if (count > 0) this.counts.lost++;
    }
    this.#lastExit = exit;
    // A worker that exits with a code has flushed its results, so its replies are complete.
    this.#scheduler.lost(slot, exit.complete);
    this.#options.onChange();
  }
}

function attempt(read: () => unknown): { value?: unknown; error?: unknown; isError: boolean } {
  try {
    return { value: read(), isError: false };
  } catch (error) {
    return { error, isError: true };
  }
}

function earlyExitError(connection: WorkerConnection, { exitCode, signal, error }: WorkerExit): StartError {
  const how = signal === null ? `exit code ${exitCode}` : `signal ${signal}`;
  return new StartError(
    `${connection.backend.name} (${connection.pid}) ended with ${how} before it was ready for tasks`,
    {
      exitCode,
      signal,
      cause: error,
    },
  );
}
