// Whatever the outside world does, in whatever order: what the scheduler promises holds.
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Commands, Estimate, type Seat, Task } from "../src/ledger.ts";
import { Scheduler } from "../src/scheduler.ts";

const SLOW = 5;
const TINY = 0.001;

interface Happening {
  readonly kind: string;
  /** Chooses among what is possible. */
  readonly pick: number;
  readonly ms: number;
  readonly items: number;
  readonly flag: boolean;
}

const happenings: fc.Arbitrary<Happening[]> = fc.array(
  fc.record({
    kind: fc.constantFrom(
      "submit",
      "submit",
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
    ms: fc.constantFrom(Number.NaN, TINY, 0.01, 0.05, 0.3, SLOW),
    items: fc.constantFrom(1, 1, 1, 5, 30),
    flag: fc.boolean(),
  }),
  { maxLength: 300 },
);

test("every task settles once, nobody is idle while tasks wait, and no worker has more than it may", () => {
  fc.assert(
    fc.property(happenings, fc.constantFrom(1, 2, 5), fc.constantFrom(undefined, 1, 3), (list, processes, maxTasks) => {
      new World(processes, maxTasks).run(list);
    }),
    { numRuns: 1000 },
  );
});

test("without losses, tasks begin in the order in which they came", () => {
  fc.assert(
    fc.property(happenings, (list) => {
      const world = new World(1, undefined);
      world.run(list.filter(({ kind }) => kind !== "lose" && kind !== "tick"));
      const numbers = [...world.begun.keys()].map((task) => world.submitted.indexOf(task));
      expect(numbers).toEqual(numbers.toSorted((a, b) => a - b));
    }),
    { numRuns: 300 },
  );
});

test("without losses, every item of a chunk is done once, however often it is divided", () => {
  fc.assert(
    fc.property(happenings, fc.constantFrom(2, 3, 5), (list, processes) => {
      const world = new World(processes, undefined);
      world.run(list.filter(({ kind }) => kind !== "lose" && kind !== "drop" && kind !== "tick"));
      for (const [message, done] of world.done) expect(done.size).toBe(message.items);
      for (const how of world.settled.values()) expect(how).toBe("answered");
    }),
    { numRuns: 500 },
  );
});

test("idle workers share what the others have, and are not left without work", () => {
  const world = new World(4, undefined);
  for (const seat of [...world.inboxes.keys()]) world.at(seat, "start", true);
  const estimate = new Estimate();
  estimate.learn(SLOW);
  const chunk = world.add(new Task(estimate, 64, 10, {}));
  for (let i = 0; i < 40; i++) {
    world.now += SLOW;
    world.scheduler.tick();
    world.shareAll();
    for (const seat of [...world.inboxes.keys()]) world.at(seat, "answer", false);
    const left = world.messages.get(chunk)!.items - world.done.get(world.messages.get(chunk)!)!.size;
    // With many items left, nobody is idle.
    if (i > 2 && left > 16) for (const seat of world.scheduler.seats) expect(seat.tasks.length).toBeGreaterThan(0);
    if (left === 0) {
      expect(i).toBeLessThan(24); // 64 / 4, and a few rounds of asking
      return;
    }
  }
  expect.unreachable();
});

/** Workers that do what they are told, and die. */
class World implements Commands<Task, unknown> {
  readonly scheduler: Scheduler<Task, unknown>;
  readonly settled = new Map<Task, string>();
  readonly submitted: Task[] = [];
  /** How often a task was begun by a worker. */
  readonly begun = new Map<Task, number>();
  /** Begun by the worker that has it. */
  readonly underWay = new Set<Task>();
  /** What each worker works at. */
  readonly inboxes = new Map<Seat, Task[]>();
  readonly stopping = new Set<Seat>();
  readonly killed: Seat[] = [];
  readonly recalled: (readonly [Seat, Task])[] = [];
  /** Workers that were asked to share a task. */
  readonly asked: (readonly [Seat, Task])[] = [];
  /** What was sent for each task, of how many items it was, and which of them were answered. */
  readonly messages = new Map<Task, { readonly items: number }>();
  readonly done = new Map<{ readonly items: number }, Set<number>>();
  now = 0;
  alarmAt = Number.POSITIVE_INFINITY;

  constructor(processes: number, maxTasksPerChild: number | undefined) {
    this.scheduler = new Scheduler({ processes, maxTasksPerChild, graceMs: 10 }, this, () => this.now);
    this.scheduler.hire();
  }

  run(list: readonly Happening[]): void {
    for (const happening of list) {
      this.happen(happening);
      this.check();
    }
    for (let i = 0; this.scheduler.pending > 0 && i < 1000; i++) {
      this.bury();
      this.giveBack();
      for (const seat of [...this.inboxes.keys()]) this.at(seat, "start", true);
      for (const seat of [...this.inboxes.keys()]) this.at(seat, "answer", true);
      this.check();
    }
    expect(this.scheduler.pending).toBe(0);
    for (const task of this.submitted) expect(this.settled.has(task)).toBe(true);
  }

  happen({ kind, pick, ms, items, flag }: Happening): void {
    const seats = [...this.inboxes.keys()];
    const seat = seats[pick % seats.length];
    if (kind === "submit") {
      const estimate = new Estimate();
      if (!Number.isNaN(ms)) estimate.learn(ms);
      const task = new Task(estimate, items, 10, { retries: pick % 3 === 0 ? 1 : 0, ...(flag ? {} : { timeout: 20 }) });
      this.add(task);
    } else if (kind === "share") {
      this.shareAll();
    } else if (kind === "drop") {
      const task = this.submitted[pick % this.submitted.length];
      if (task === undefined || this.settled.has(task)) return;
      this.settle(task, "dropped");
      this.scheduler.drop(task, flag);
    } else if (kind === "tick") {
      this.bury();
      this.giveBack();
      this.now += pick;
      if (this.now < this.alarmAt) return;
      this.alarmAt = Number.POSITIVE_INFINITY;
      this.scheduler.tick();
    } else if (seat !== undefined) this.at(seat, kind, flag);
  }

  at(seat: Seat, kind: string, flag: boolean): void {
    const inbox = this.inboxes.get(seat)!;
    if (kind === "start") {
      this.scheduler.ready(seat);
    } else if (kind === "lose") {
      this.inboxes.delete(seat);
      // It may have begun the first one without an answer.
      if (inbox[0] !== undefined && flag) this.begin(seat, inbox[0]);
      this.scheduler.lost(seat, inbox[0]?.care !== "loose");
    } else if (inbox[0] !== undefined) {
      const [task] = inbox;
      this.begin(seat, task);
      const items = flag || task.items === 1 ? task.items - task.answered : 1;
      const done = this.done.get(this.messages.get(task)!)!;
      for (let i = task.answered; i < task.answered + items; i++) {
        if (task.state === "sent") expect(done.has(i)).toBe(false);
        done.add(i);
      }
      const isLast = task.answered + items === task.items;
      if (isLast) inbox.shift();
      if (isLast && task.state === "sent") this.settle(task, "answered");
      this.scheduler.answered(seat, items, task.estimate.typical || 1, isLast);
    } else if (this.stopping.has(seat)) {
      this.inboxes.delete(seat);
      this.scheduler.lost(seat, true);
    }
  }

  add(task: Task): Task {
    const message = { items: task.items };
    this.messages.set(task, message);
    this.done.set(message, new Set());
    this.submitted.push(task);
    this.scheduler.submit(task);
    return task;
  }

  /** Workers leave half of what they have not begun to others. */
  shareAll(): void {
    for (const [seat, task] of this.asked.splice(0)) {
      if (this.inboxes.get(seat)?.[0] !== task) continue;
      const isWaiting = this.underWay.has(task);
      const left = task.items - task.answered - (isWaiting ? 1 : 0);
      this.scheduler.shared(seat, task.items - (isWaiting ? Math.ceil(left / 2) : Math.floor(left / 2)));
      if (seat.tasks[0]?.state === "sent") expect(task.items).toBeGreaterThan(task.answered);
    }
  }

  /** Workers give back what they have not begun. */
  giveBack(): void {
    for (const [seat, task] of this.recalled.splice(0)) {
      const inbox = this.inboxes.get(seat);
      const at = inbox?.indexOf(task) ?? -1;
      if (at < 0 || this.underWay.has(task)) continue;
      inbox?.splice(at, 1);
      this.scheduler.returned(seat, task.ordinal);
    }
  }

  /** The news of those who were killed. */
  bury(): void {
    for (const seat of this.killed.splice(0)) this.scheduler.lost(seat, false);
  }

  begin(seat: Seat, task: Task): void {
    if (this.underWay.has(task)) return;
    this.underWay.add(task);
    this.begun.set(task, (this.begun.get(task) ?? 0) + 1);
    if (task.care === "careful" || task.items > 1) this.scheduler.began(seat);
  }

  check(): void {
    for (const { tasks, state } of this.scheduler.seats) {
      expect(tasks.length).toBeLessThanOrEqual(256);
      for (const task of tasks) expect(["sent", "dropped"]).toContain(task.state);
      if (tasks.length > 1) expect(tasks.reduce((sum, task) => sum + task.cost, 0)).toBeLessThanOrEqual(0.5 + 1e-9);
      if (state === "ready" && tasks.length === 0) expect(this.scheduler.queued).toBe(0);
    }
    for (const [seat, inbox] of this.inboxes) expect(inbox).toEqual(seat.tasks);
    expect(this.scheduler.pending).toBe(this.submitted.length - this.settled.size);
  }

  settle(task: Task, how: string): void {
    expect(this.settled.get(task)).toBeUndefined();
    this.settled.set(task, how);
  }

  start(seat: Seat): void {
    this.inboxes.set(seat, []);
  }

  send(seat: Seat, task: Task): void {
    // A careful task that was begun is not begun again, unless that is allowed.
    if (task.care !== "loose" && !task.isSuspect) expect(this.begun.get(task) ?? 0).toBeLessThanOrEqual(task.losses);
    this.underWay.delete(task);
    this.inboxes.get(seat)!.push(task);
  }

  tell(): void {}

  recall(seat: Seat, tasks: readonly Task[]): void {
    this.recalled.push(...tasks.map((task) => [seat, task] as const));
  }

  share(seat: Seat, task: Task): void {
    expect(seat.tasks[0]).toBe(task);
    expect([...this.scheduler.seats].some(({ state, tasks }) => state === "ready" && tasks.length === 0)).toBe(true);
    this.asked.push([seat, task]);
  }

  again(task: Task): Task {
    const rest = new Task(task.estimate, task.items, 10, task);
    this.messages.set(rest, this.messages.get(task)!);
    this.submitted.push(rest);
    return rest;
  }

  stop(seat: Seat): void {
    this.stopping.add(seat);
  }

  kill(seat: Seat): void {
    this.inboxes.delete(seat);
    this.killed.push(seat);
  }

  terminate(seat: Seat): void {
    this.kill(seat);
  }

  fail(task: Task): void {
    this.settle(task, "failed");
  }

  expire(task: Task): void {
    this.settle(task, "expired");
  }

  abandon(task: Task): void {
    this.settle(task, "abandoned");
  }

  giveUp(): void {}

  alarm(at: number): void {
    this.alarmAt = at;
  }
}
