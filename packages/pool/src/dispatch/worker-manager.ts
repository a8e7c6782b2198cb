/** The workers of a pool: carries out what the scheduler decides, and tells it what happens. */
import { StartError, TimeoutError } from "@multiproc/core";
import { host } from "@multiproc/core/internal";
import { PoolEvents } from "../diagnostics.ts";
import { WorkerLostError } from "../errors.ts";
import { CallJob } from "../jobs/apply-job.ts";
import { type Job, type Office, WorkTask } from "../jobs/job.ts";
import { noteOrigin } from "../jobs/result.ts";
import * as protocol from "../protocol.ts";
import { Scheduler } from "../scheduler/scheduler.ts";
import type { Brief, Commands, Waiting } from "../scheduler/task.ts";
import type { Seat } from "../scheduler/worker-slot.ts";
import type { BodyEnd, BodyMaker, BodyOptions } from "./worker-backend.ts";
import { WorkerLink } from "./worker-connection.ts";

/** How a crew is made. */
export interface CrewOptions {
  readonly processes: number;
  readonly maxTasksPerChild: number | undefined;
  readonly graceMs: number;
  /** How a worker is started; the crew adds a number to the name. */
  readonly body: BodyOptions;
  readonly makeBody: BodyMaker;
  /** What each worker is to begin and end with. */
  readonly init: protocol.Init;
  /** No worker can be had, for this reason. */
  broken(reason: unknown): void;
  /** What is pending, or who is there, has changed. */
  changed(): void;
}

type WorkSeat = Seat<WorkTask, WorkerLink>;

/** So many bytes take longer to decode than a write takes. */
const SLOW_TO_DECODE = 16 * 1024;
/** A timer holds 31 bits. */
const FOREVER = 2 ** 31 - 1;

/** Workers, and what they do. */
export class Crew implements Office {
  /** Tasks that were done, that failed or were given up, and those whose worker died. */
  readonly counts: { completed: number; failed: number; lost: number } = { completed: 0, failed: 0, lost: 0 };
  readonly #options: CrewOptions;
  readonly #scheduler: Scheduler<WorkTask, WorkerLink>;
  readonly #events: PoolEvents;
  #started = 0;
  /** Why tasks that are left will not be done. */
  #reason: unknown;
  /** How the worker that is being mourned ended. */
  #end: BodyEnd | undefined;
  #cancelAlarm: () => void = () => {};

  constructor(options: CrewOptions) {
    this.#options = options;
    this.#scheduler = new Scheduler(options, this.#commands(), () => performance.now());
    this.#scheduler.hire();
    // On Deno they take some milliseconds to come up, while the workers start.
    this.#events = new PoolEvents();
  }

  /** How many workers have not ended. */
  get size(): number {
    return this.#scheduler.seats.size;
  }

  /** How many tasks somebody waits for. */
  get pending(): number {
    return this.#scheduler.pending;
  }

  /** How many tasks wait for a worker. */
  get waiting(): number {
    return this.#scheduler.queued;
  }

  /** Workers that are ready, and tasks that they have. */
  get state(): { workers: number; running: number } {
    let [workers, running] = [0, 0];
    for (const seat of this.#scheduler.seats) {
      if (seat.state === "ready") workers++;
      running += seat.wanted;
    }
    return { workers, running };
  }

  submit(waiting: Waiting<WorkTask>): void {
    this.#scheduler.submit(waiting);
    this.#options.changed();
  }

  withdraw(waiting: Waiting<WorkTask>): void {
    this.counts.failed += waiting.left;
    this.#scheduler.withdraw(waiting);
    this.#options.changed();
  }

  get isWatched(): boolean {
    const { taskStart, taskEnd, taskError } = this.#events;
    return taskStart.hasSubscribers || taskEnd.hasSubscribers || taskError.hasSubscribers;
  }

  make(brief: Brief<WorkTask>): void {
    for (const seat of this.#scheduler.seats) seat.make(brief);
  }

  drop(task: WorkTask, stop?: { readonly reason: unknown }): void {
    if (task.state !== "queued" && task.state !== "sent") return;
    this.counts.failed++;
    task.dropReason = stop?.reason;
    this.#scheduler.drop(task, stop !== undefined);
    this.#options.changed();
  }

  dropAll(job: Job, stop?: { readonly reason: unknown }, except?: WorkTask): void {
    for (const each of this.#scheduler.all) {
      if ((each as Waiting<WorkTask> & { readonly job?: Job }).job !== job || each === except) continue;
      if (each instanceof WorkTask) this.drop(each, stop);
      else this.withdraw(each);
    }
  }

  /** No more tasks will come: the workers end. */
  finish(): void {
    this.#scheduler.finish();
  }

  /** Ends all workers; tasks that are left fail with the reason. */
  terminate(reason: unknown): void {
    this.#reason = reason;
    this.#scheduler.terminate();
    this.#options.changed();
  }

  #commands(): Commands<WorkTask, WorkerLink> {
    const { graceMs, broken } = this.#options;
    return {
      start: (seat) => this.#start(seat),
      send: (seat, task) => this.#send(seat, task),
      sendBrief: (seat, brief) => seat.link?.sendBrief(brief as CallJob),
      tell: (seat, task) => seat.link?.drop(task),
      recall: (seat, tasks) => seat.link?.recall(tasks),
      share: (seat, task) => seat.link?.share(task),
      again: (task) => task.again(),
      stop: (seat) => seat.link?.stop(),
      kill: (seat) => seat.link?.kill(),
      terminate: (seat) => seat.link?.terminate(graceMs),
      fail: (task, seat) => this.#fail(task, this.#lossOf(task, seat)),
      expire: (task) => this.#fail(task, (task.dropReason = new TimeoutError(task.job.call, task.timeout as number))),
      abandon: (task) => this.#fail(task, this.#reason),
      giveUp: () => broken(this.#reason),
      alarm: (at) => this.#setAlarm(at),
    };
  }

  #start(seat: WorkSeat): void {
    const { body, makeBody, init } = this.#options;
    const made = makeBody({ ...body, name: `${body.name}-${++this.#started}` });
    seat.link = new WorkerLink(made, init, {
      message: (kind, size, read) => this.#receive(seat, kind, size, read),
      gone: (end) => this.#gone(seat, end),
    });
  }

  #send(seat: WorkSeat, task: WorkTask): void {
    if (this.isWatched) {
      const { name } = this.#options.body;
      const items = task.items - task.answered;
      const { trace } = task;
      task.event = {
        pool: name,
        task: task.fn.name,
        worker: seat.link?.pid ?? 0,
        items,
        trace,
        from: performance.now(),
      };
      this.#events.taskStart.publish(task.event);
    }
    seat.link?.send(task);
  }

  #setAlarm(at: number): void {
    this.#cancelAlarm();
    const ring = (): void => {
      this.#scheduler.tick();
      this.#options.changed();
    };
    this.#cancelAlarm = host.timer(ring, Math.min(FOREVER, Math.max(0, at - performance.now())), false);
  }

  #lossOf(task: WorkTask, seat: WorkSeat): WorkerLostError {
    const { exitCode = null, signal = null, lastWords: stderr = "", error } = this.#end ?? {};
    const cause = error === undefined ? {} : { cause: error };
    return new WorkerLostError(seat.link?.pid ?? 0, { exitCode, signal, stderr }, task.fn.name, cause);
  }

  #fail(task: WorkTask, error: unknown, at: number = task.at + task.answered): void {
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

  #receive(seat: WorkSeat, kind: number, size: number, read: () => unknown): void {
    const answer = protocol.answerKind(kind);
    if (answer >= protocol.RESULT) {
      this.#answered(seat, answer, protocol.answerMs(kind), size, read);
    } else {
      const content = attempt(read);
      if (answer === protocol.READY) this.#ready(seat);
      else if (answer === protocol.SPENT) this.#scheduler.spent(seat);
      else if (answer === protocol.REFUSED) this.#refused(seat, content.error ?? content.value);
      else if (answer === protocol.BEGIN) return this.#scheduler.began(seat);
      else if (answer === protocol.DROPPED) this.#scheduler.answered(seat, 0, 0, true);
      else if (answer === protocol.SHARED) this.#scheduler.shared(seat, content.value as number);
      else for (const ordinal of content.value as number[]) this.#scheduler.returned(seat, ordinal);
    }
    this.#options.changed();
  }

  #answered(seat: WorkSeat, answer: number, ms: number, size: number, read: () => unknown): void {
    const head = seat.head as WorkTask | CallJob | undefined;
    const isCall = head instanceof CallJob || head?.kind === protocol.CALL;
    if (answer === protocol.RESULTS && isCall) return this.#answeredCalls(seat, ms, read);
    const { running: task } = seat;
    if (task === undefined) return;
    const at = task.at + task.answered;
    const isFailure = answer === protocol.FAILURE;
    const isLast = isFailure || answer === protocol.LAST || task.kind === protocol.CALL;
    const isWanted = task.state === "sent";
    if (isLast && !isFailure) {
      // The worker goes on while its results are decoded here.
      this.#scheduler.answered(seat, task.items - task.answered, ms, true);
      if (size > SLOW_TO_DECODE) seat.link?.flush();
    }
    const { value, error, isError } = attempt(read);
    const count = answer === protocol.RESULT ? 1 : isError || isFailure ? 0 : (value as unknown[]).length;
    if (isFailure || isError) {
      const reason = isError ? error : value;
      noteOrigin(reason, `in worker ${seat.link?.pid}`);
      // The worker goes on with a chunk, since it knows nothing of this.
      if (!isLast) this.#scheduler.drop(task, false);
      if (isWanted) this.#fail(task, reason, at);
    } else if (isWanted) {
      if (isLast) this.#completed(task);
      if (answer === protocol.RESULT) task.job.result(task, value, at);
      else if (count > 0) task.job.results(task, value as unknown[], at);
    }
    if (isFailure || !isLast) this.#scheduler.answered(seat, count, ms, isLast);
  }

  /** Answers to several calls at once. */
  #answeredCalls(seat: WorkSeat, ms: number, read: () => unknown): void {
    const { value } = attempt(read);
    if (value === undefined) return; // what is wrong with the message has ended the worker
    const values = value as unknown[];
    const tasks = this.#scheduler.answeredAll(seat, values.length, ms);
    for (let i = 0; i < tasks.length; i++) {
      const task = tasks[i] as WorkTask | CallJob;
      if (task instanceof CallJob) {
        this.counts.completed++;
        task.answer(values[i]);
      } else if (task.state === "done") {
        this.#completed(task);
        task.job.result(task, values[i], task.at);
      }
    }
  }

  #ready(seat: WorkSeat): void {
    const { workerStart } = this.#events;
    if (workerStart.hasSubscribers) workerStart.publish(this.#workerEvent(seat.link as WorkerLink));
    this.#scheduler.ready(seat);
  }

  #workerEvent(link: WorkerLink): object {
    return { pool: this.#options.body.name, worker: link.pid, name: link.body.name };
  }

  /** The initializer has failed: it would in other workers too. */
  #refused(seat: WorkSeat, error: unknown): void {
    this.#reason = error;
    this.#scheduler.lost(seat, true, true);
    seat.link?.kill();
  }

  #gone(seat: WorkSeat, end: BodyEnd): void {
    const { state, count } = seat;
    const { workerEnd } = this.#events;
    if (workerEnd.hasSubscribers) {
      const { exitCode, signal } = end;
      workerEnd.publish({ ...this.#workerEvent(seat.link as WorkerLink), exitCode, signal });
    }
    if (state === "starting") {
      if (isImporting(end.error) && this.pending === 0) return this.#scheduler.unhire(seat);
      this.#reason = end.error ?? endedEarly(seat.link as WorkerLink, end);
    } else if (state === "ready") {
      this.#reason = new StartError(`The pool's workers end as soon as they have been started`, end);
      if (count > 0) this.counts.lost++;
    }
    this.#end = end;
    // Who ends by itself sends what it has before.
    this.#scheduler.lost(seat, end.told);
    this.#options.changed();
  }
}

function attempt(read: () => unknown): { value?: unknown; error?: unknown; isError: boolean } {
  try {
    return { value: read(), isError: false };
  } catch (error) {
    return { error, isError: true };
  }
}

/** A module that makes a pool at its top level can be loaded by a worker: the pool starts nothing there until it is used. */
function isImporting(error: unknown): boolean {
  return (error as { code?: unknown } | undefined)?.code === "ERR_IMPORTING";
}

function endedEarly(link: WorkerLink, { exitCode, signal, error }: BodyEnd): StartError {
  const how = signal === null ? `exit code ${exitCode}` : `signal ${signal}`;
  return new StartError(`${link.body.name} (${link.pid}) ended with ${how} before it was ready for tasks`, {
    exitCode,
    signal,
    cause: error,
  });
}
