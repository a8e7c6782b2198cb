// Property tests: the invariants of the scheduler hold for any sequence of events.
import fc from "fast-check";
import { expect, test } from "vitest";
import { DurationEstimate } from "../src/scheduler/duration-estimate.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import type { SchedulerCommands } from "../src/scheduler/scheduler-commands.ts";
import { canBatchAcks, type LazyTask, Task } from "../src/scheduler/task.ts";
import type { WorkerSlot } from "../src/scheduler/worker-slot.ts";

const SLOW_MS = 5;
const TINY_MS = 0.001;

interface SimulatedEvent {
  readonly kind: string;
  /** Selects a worker or a task. */
  readonly pick: number;
  readonly ms: number;
  readonly items: number;
  readonly flag: boolean;
}

const simulatedEvents: fc.Arbitrary<SimulatedEvent[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(
      "submit",
      "submit",
      "call",
      "call",
      "answer",
      "answer",
      "answer",
      "lose",
      "drop",
      "tick",
      "start",
      "start",
      "share",
    ),
    pick: fc.nat(99),
    ms: fc.constantFrom(Number.NaN, TINY_MS, 0.01, 0.05, 0.3, SLOW_MS),
    items: fc.constantFrom(1, 1, 1, 5, 30),
    flag: fc.boolean(),
  }),
  { maxLength: 300 },
);

test("every task settles once, no worker is idle while tasks wait, and no worker exceeds its limits", () => {
  fc.assert(
    fc.property(
      simulatedEvents,
      fc.constantFrom(1, 2, 5),
      fc.constantFrom(undefined, 1, 3),
      (list, processes, maxTasks) => {
        new Simulation(processes, maxTasks).run(list);
      },
    ),
    { numRuns: 1000 },
  );
});

test("without lost workers, tasks begin in the order of their submission", () => {
  fc.assert(
    fc.property(simulatedEvents, (list) => {
      const simulation = new Simulation(1, undefined);
      simulation.run(list.filter(({ kind }) => kind !== "lose" && kind !== "tick"));
      const numbers = [...simulation.begun.keys()].map((task) => simulation.submitted.indexOf(task));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }),
    { numRuns: 300 },
  );
});

test("without lost workers, every item of a chunk is done once, however often it is split", () => {
  fc.assert(
    fc.property(simulatedEvents, fc.constantFrom(2, 3, 5), (list, processes) => {
      const simulation = new Simulation(processes, undefined);
      simulation.run(list.filter(({ kind }) => kind !== "lose" && kind !== "drop" && kind !== "tick"));
      for (const [message, done] of simulation.done) expect(done.size).toBe(message.items);
      for (const how of simulation.settled.values()) expect(how).toBe("answered");
    }),
    { numRuns: 500 },
  );
});

test("idle workers steal work, and none stays idle while much is left", () => {
  const simulation = new Simulation(4, undefined);
  for (const slot of [...simulation.inboxes.keys()]) simulation.workerEvent(slot, "start", true);
  const estimate = new DurationEstimate();
  estimate.record(SLOW_MS);
  const chunk = simulation.add(new Task(estimate, 64, 10, {}));
  for (let i = 0; i < 40; i++) {
    simulation.now += SLOW_MS;
    simulation.scheduler.tick();
    simulation.splitAll();
    for (const slot of [...simulation.inboxes.keys()]) simulation.workerEvent(slot, "answer", false);
    const remaining =
      simulation.messages.get(chunk)!.items - simulation.done.get(simulation.messages.get(chunk)!)!.size;
    // With many items left, no worker is idle.
    if (i > 2 && remaining > 16) for (const slot of simulation.scheduler.slots) expect(slot.count).toBeGreaterThan(0);
    if (remaining === 0) {
      expect(i).toBeLessThan(24); // 64 / 4, and a few rounds of asking
      return;
    }
  }
  expect.unreachable();
});

/** A lazy task. It becomes a task when it is materialized. */
class Call implements LazyTask<Task> {
  readonly estimate: DurationEstimate;
  readonly size = 10;
  state: "waiting" | "sent" | "cleared" = "waiting";
  task: Task | undefined;
  readonly #made: (task: Task) => void;

  constructor(estimate: DurationEstimate, made: (task: Task) => void) {
    this.estimate = estimate;
    this.#made = made;
  }

  get remaining(): number {
    return this.state === "waiting" && this.task === undefined ? 1 : 0;
  }

  get expectedMs(): number {
    return this.estimate.averageMs;
  }

  get lazyTask(): this | undefined {
    return canBatchAcks(this.estimate, undefined) ? this : undefined;
  }

  markSent(): void {
    expect(this.remaining).toBe(1);
    this.state = "sent";
  }

  take(): Task {
    expect(this.task).toBeUndefined();
    this.task = new Task(this.estimate, 1, this.size, {});
    this.#made(this.task);
    return this.task;
  }

  clear(): void {
    this.state = "cleared";
  }
}

/** Simulated workers, which run their tasks and die. */
class Simulation implements SchedulerCommands<Task, unknown> {
  readonly scheduler: Scheduler<Task, unknown>;
  readonly settled = new Map<Task | Call, string>();
  readonly submitted: (Task | Call)[] = [];
  /** The lazy tasks that have become tasks. */
  readonly callOfTask = new Map<Task, Call>();
  /** How often each task has begun. */
  readonly begun = new Map<Task | Call, number>();
  /** Tasks that have begun on the worker that has them. */
  readonly inProgress = new Set<Task | Call>();
  /** The tasks of each worker. */
  readonly inboxes = new Map<WorkerSlot, (Task | Call)[]>();
  readonly stopping = new Set<WorkerSlot>();
  readonly killed: WorkerSlot[] = [];
  readonly recalled: (readonly [WorkerSlot, Task])[] = [];
  /** Workers that were asked to split a task. */
  readonly splitRequests: (readonly [WorkerSlot, Task])[] = [];
  /** The payload of each task, and the items of each payload that have a result. */
  readonly messages = new Map<Task, { readonly items: number }>();
  readonly done = new Map<{ readonly items: number }, Set<number>>();
  /** The number of tasks sent to each worker, and how each task was sent. */
  readonly sentCounts = new Map<WorkerSlot, number>();
  readonly sent = new Map<Task | Call, { sequence: number; ackMode: string; expectedMs: number }>();
  now = 0;
  timerAt = Number.POSITIVE_INFINITY;

  constructor(processes: number, maxTasksPerChild: number | undefined) {
    this.scheduler = new Scheduler({ processes, maxTasksPerChild, gracePeriod: 10 }, this, () => this.now);
    this.scheduler.startMissing();
  }

  run(list: readonly SimulatedEvent[]): void {
    for (const event of list) {
      this.apply(event);
      this.check();
    }
    for (let i = 0; this.scheduler.pendingCount > 0 && i < 1000; i++) {
      this.reportKilled();
      this.returnRecalled();
      for (const slot of [...this.inboxes.keys()]) this.workerEvent(slot, "start", true);
      for (const slot of [...this.inboxes.keys()]) this.workerEvent(slot, "answer", true);
      this.check();
    }
    expect(this.scheduler.pendingCount).toBe(0);
    for (const task of this.submitted) expect(this.settled.has(task)).toBe(true);
  }

  apply({ kind, pick, ms, items, flag }: SimulatedEvent): void {
    const slots = [...this.inboxes.keys()];
    const slot = slots[pick % slots.length];
    if (kind === "submit") {
      const estimate = new DurationEstimate();
      if (!Number.isNaN(ms)) estimate.record(ms);
      const task = new Task(estimate, items, 10, { retries: pick % 3 === 0 ? 1 : 0, ...(flag ? {} : { timeout: 20 }) });
      this.add(task);
    } else if (kind === "call") {
      const estimate = new DurationEstimate();
      estimate.record(ms === SLOW_MS ? SLOW_MS : TINY_MS);
      const call: Call = new Call(estimate, (task) => this.materialized(call, task));
      this.submitted.push(call);
      this.scheduler.submit(call);
    } else if (kind === "share") {
      this.splitAll();
    } else if (kind === "drop") {
      const task = this.submitted[pick % this.submitted.length];
      if (task === undefined || this.settled.has(task)) return;
      this.settle(task, "cancelled");
      this.cancelTask(task, flag);
    } else if (kind === "tick") {
      this.reportKilled();
      this.returnRecalled();
      this.now += pick;
      if (this.now < this.timerAt) return;
      this.timerAt = Number.POSITIVE_INFINITY;
      this.scheduler.tick();
    } else if (slot !== undefined) this.workerEvent(slot, kind, flag);
  }

  workerEvent(slot: WorkerSlot, kind: string, flag: boolean): void {
    const inbox = this.inboxes.get(slot)!;
    if (kind === "start") {
      this.scheduler.ready(slot);
    } else if (kind === "lose") {
      this.inboxes.delete(slot);
      // The worker may have begun its first task without a result.
      const [first] = inbox;
      if (first !== undefined && flag) this.begin(slot, first);
      const isComplete =
        first instanceof Call && first.task === undefined ? flag : taskOf(first)?.ackMode !== "batched";
      this.scheduler.lost(slot, isComplete);
    } else if (flag && inbox[0] instanceof Call) {
      this.answerCalls(slot, inbox);
    } else if (inbox[0] !== undefined) {
      if (inbox[0] instanceof Call && inbox[0].task === undefined) slot.materialize(inbox[0]);
      const task = taskOf(inbox[0]) as Task;
      this.begin(slot, task);
      const items = flag || task.itemCount === 1 ? task.itemCount - task.answeredCount : 1;
      const done = this.done.get(this.messages.get(task)!) ?? new Set();
      for (let i = task.answeredCount; i < task.answeredCount + items; i++) {
        if (task.state === "sent") expect(done.has(i)).toBe(false);
        done.add(i);
      }
      const isLast = task.answeredCount + items === task.itemCount;
      if (isLast) inbox.shift();
      if (isLast && task.state === "sent") this.settle(task, "answered");
      this.scheduler.answered(slot, items, task.estimate.typicalMs || 1, isLast);
    } else if (this.stopping.has(slot)) {
      this.inboxes.delete(slot);
      this.scheduler.lost(slot, true);
    }
  }

  /** Delivers a batch of results. */
  answerCalls(slot: WorkerSlot, inbox: (Task | Call)[]): void {
    const end = inbox.findIndex(
      (entry) => !(entry instanceof Call) || (entry.task?.ackMode ?? "batched") !== "batched",
    );
    const calls = inbox.splice(0, Math.max(1, end < 0 ? inbox.length : end));
    for (const call of calls) {
      this.begin(slot, call);
      if ((taskOf(call)?.state ?? "sent") === "sent") this.settle(call, "answered");
    }
    const answered = this.scheduler.answeredAll(slot, calls.length, TINY_MS);
    expect(answered).toEqual(calls.map((call) => taskOf(call) ?? call));
  }

  /** Notes that a lazy task has become a task. */
  materialized(call: Call, task: Task): void {
    this.callOfTask.set(task, call);
  }

  cancelTask(task: Task | Call, cancelRunning: boolean): void {
    if (task instanceof Task) return this.scheduler.cancel(task, cancelRunning);
    if (task.remaining > 0) return this.scheduler.cancelQueued(task);
    if (task.task === undefined) for (const slot of this.scheduler.slots) slot.materialize(task);
    this.scheduler.cancel(task.task!, cancelRunning);
  }

  add(task: Task): Task {
    const message = { items: task.itemCount };
    this.messages.set(task, message);
    this.done.set(message, new Set());
    this.submitted.push(task);
    this.scheduler.submit(task);
    return task;
  }

  /** Splits the tasks for which a split was requested. */
  splitAll(): void {
    for (const [slot, task] of this.splitRequests.splice(0)) {
      if (taskOf(this.inboxes.get(slot)?.[0]) !== task) continue;
      const isWaiting = this.inProgress.has(task);
      const remaining = task.itemCount - task.answeredCount - (isWaiting ? 1 : 0);
      this.scheduler.split(slot, task.itemCount - (isWaiting ? Math.ceil(remaining / 2) : Math.floor(remaining / 2)));
      if (slot.running?.state === "sent") expect(task.itemCount).toBeGreaterThan(task.answeredCount);
    }
  }

  /** Gives back recalled tasks that have not begun. */
  returnRecalled(): void {
    for (const [slot, task] of this.recalled.splice(0)) {
      const inbox = this.inboxes.get(slot);
      const at = inbox?.findIndex((entry) => taskOf(entry) === task) ?? -1;
      if (at < 0 || this.inProgress.has(this.callOfTask.get(task) ?? task)) continue;
      inbox?.splice(at, 1);
      this.scheduler.returned(slot, task.sequence);
    }
  }

  /** Reports the loss of killed workers. */
  reportKilled(): void {
    for (const slot of this.killed.splice(0)) this.scheduler.lost(slot, false);
  }

  begin(slot: WorkerSlot, entry: Task | Call): void {
    const key = (entry instanceof Task && this.callOfTask.get(entry)) || entry;
    if (this.inProgress.has(key)) return;
    this.inProgress.add(key);
    this.begun.set(key, (this.begun.get(key) ?? 0) + 1);
    const task = taskOf(entry);
    if (task === undefined) return;
    if (task.ackMode === "sync" || task.itemCount > 1) this.scheduler.began(slot);
  }

  check(): void {
    for (const { count, queuedMs, queuedBytes, state } of this.scheduler.slots) {
      expect(count).toBeLessThanOrEqual(256);
      if (count > 1) expect(queuedMs).toBeLessThanOrEqual(1 + 1e-9);
      expect(queuedBytes).toBe(10 * count);
      if (state === "ready" && count === 0) expect(this.scheduler.queuedCount).toBe(0);
    }
    for (const [slot, inbox] of this.inboxes) {
      expect(inbox.length).toBe(slot.count);
      const totalExpectedMs = inbox.reduce((sum, entry) => sum + this.sent.get(entry)!.expectedMs, 0);
      if (slot.count > 1) expect(slot.queuedMs).toBeCloseTo(totalExpectedMs, 9);
      for (const entry of inbox) if (taskOf(entry)) this.checkTask(entry, taskOf(entry)!);
      // Reading the tasks materializes them.
      if (inbox.every((entry) => taskOf(entry) !== undefined)) expect(inbox.map(taskOf)).toEqual(slot.tasks);
    }
    expect(this.scheduler.pendingCount).toBe(this.submitted.length - this.settled.size);
  }

  checkTask(entry: Task | Call, { state, sequence, ackMode }: Task): void {
    const { sequence: sentSequence, ackMode: sentAckMode } = this.sent.get(entry)!;
    expect(["sent", "cancelled"]).toContain(state);
    expect([sequence, ackMode]).toEqual([sentSequence, sentAckMode]);
  }

  settle(entry: Task | Call, outcome: string): void {
    const key = (entry instanceof Task && this.callOfTask.get(entry)) || entry;
    expect(this.settled.get(key)).toBeUndefined();
    this.settled.set(key, outcome);
  }

  start(slot: WorkerSlot): void {
    this.inboxes.set(slot, []);
  }

  send(slot: WorkerSlot, task: Task): void {
    const key = this.callOfTask.get(task) ?? task;
    // A task in sync mode that has begun does not begin again without a retry.
    if (task.ackMode !== "batched" && !task.isSuspect)
      expect(this.begun.get(key) ?? 0).toBeLessThanOrEqual(task.crashCount);
    this.#recordSent(slot, key);
  }

  sendLazyTask(slot: WorkerSlot, call: LazyTask<Task>): void {
    expect((call as Call).task).toBeUndefined();
    this.#recordSent(slot, call as Call);
  }

  #recordSent(slot: WorkerSlot, entry: Task | Call): void {
    this.inProgress.delete(entry);
    this.inboxes.get(slot)!.push(entry);
    const count = this.sentCounts.get(slot) ?? 0;
    this.sentCounts.set(slot, count + 1);
    this.sent.set(entry, {
      sequence: count,
      ackMode: taskOf(entry)?.ackMode ?? "batched",
      expectedMs: entry.expectedMs,
    });
  }

  cancel(): void {}

  recall(slot: WorkerSlot, tasks: readonly Task[]): void {
    this.recalled.push(...tasks.map((task) => [slot, task] as const));
  }

  split(slot: WorkerSlot, task: Task): void {
    expect(slot.head).toBe(task);
    expect([...this.scheduler.slots].some(({ state, count }) => state === "ready" && count === 0)).toBe(true);
    this.splitRequests.push([slot, task]);
  }

  cloneForRest(task: Task): Task {
    const rest = new Task(task.estimate, task.itemCount, 10, task);
    this.messages.set(rest, this.messages.get(task)!);
    this.submitted.push(rest);
    return rest;
  }

  stop(slot: WorkerSlot): void {
    this.stopping.add(slot);
  }

  kill(slot: WorkerSlot): void {
    this.inboxes.delete(slot);
    this.killed.push(slot);
  }

  terminate(slot: WorkerSlot): void {
    this.kill(slot);
  }

  fail(task: Task): void {
    this.settle(task, "failed");
  }

  timeOut(task: Task): void {
    this.settle(task, "expired");
  }

  reject(task: Task): void {
    this.settle(task, "abandoned");
  }

  failPool(): void {}

  setTimer(at: number): void {
    this.timerAt = at;
  }
}

/** Returns the task that an entry is, or has become. */
function taskOf(entry: Task | Call | undefined): Task | undefined {
  return entry instanceof Call ? entry.task : entry;
}
