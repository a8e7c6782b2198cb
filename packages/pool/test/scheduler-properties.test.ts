// Whatever the outside world does, in whatever order: what the scheduler promises holds.
import fc from "fast-check";
import { expect, test } from "vitest";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import { type Brief, type Commands, Estimate, isLoose, Task } from "../src/scheduler/task.ts";
import type { Seat } from "../src/scheduler/worker-slot.ts";

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
    if (i > 2 && left > 16) for (const seat of world.scheduler.seats) expect(seat.count).toBeGreaterThan(0);
    if (left === 0) {
      expect(i).toBeLessThan(24); // 64 / 4, and a few rounds of asking
      return;
    }
  }
  expect.unreachable();
});

/** A short call: it is sent as it is, until something happens to it. */
class Call implements Brief<Task> {
  readonly estimate: Estimate;
  readonly size = 10;
  state: "waiting" | "sent" | "cleared" = "waiting";
  task: Task | undefined;
  readonly #made: (task: Task) => void;

  constructor(estimate: Estimate, made: (task: Task) => void) {
    this.estimate = estimate;
    this.#made = made;
  }

  get left(): number {
    return this.state === "waiting" && this.task === undefined ? 1 : 0;
  }

  get expected(): number {
    return this.estimate.average;
  }

  get brief(): this | undefined {
    return isLoose(this.estimate, undefined) ? this : undefined;
  }

  depart(): void {
    expect(this.left).toBe(1);
    this.state = "sent";
  }

  next(): Task {
    expect(this.task).toBeUndefined();
    this.task = new Task(this.estimate, 1, this.size, {});
    this.#made(this.task);
    return this.task;
  }

  clear(): void {
    this.state = "cleared";
  }
}

/** Workers that do what they are told, and die. */
class World implements Commands<Task, unknown> {
  readonly scheduler: Scheduler<Task, unknown>;
  readonly settled = new Map<Task | Call, string>();
  readonly submitted: (Task | Call)[] = [];
  /** The calls that have become tasks. */
  readonly calls = new Map<Task, Call>();
  /** How often a task was begun by a worker. */
  readonly begun = new Map<Task | Call, number>();
  /** Begun by the worker that has it. */
  readonly underWay = new Set<Task | Call>();
  /** What each worker works at. */
  readonly inboxes = new Map<Seat, (Task | Call)[]>();
  readonly stopping = new Set<Seat>();
  readonly killed: Seat[] = [];
  readonly recalled: (readonly [Seat, Task])[] = [];
  /** Workers that were asked to share a task. */
  readonly asked: (readonly [Seat, Task])[] = [];
  /** What was sent for each task, of how many items it was, and which of them were answered. */
  readonly messages = new Map<Task, { readonly items: number }>();
  readonly done = new Map<{ readonly items: number }, Set<number>>();
  /** How many tasks each worker was sent; and as the how-manieth, how, and how long a one each task was sent. */
  readonly counts = new Map<Seat, number>();
  readonly sent = new Map<Task | Call, { ordinal: number; care: string; cost: number }>();
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
    } else if (kind === "call") {
      const estimate = new Estimate();
      estimate.learn(ms === SLOW ? SLOW : TINY);
      const call: Call = new Call(estimate, (task) => this.made(call, task));
      this.submitted.push(call);
      this.scheduler.submit(call);
    } else if (kind === "share") {
      this.shareAll();
    } else if (kind === "drop") {
      const task = this.submitted[pick % this.submitted.length];
      if (task === undefined || this.settled.has(task)) return;
      this.settle(task, "dropped");
      this.drop(task, flag);
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
      const [first] = inbox;
      if (first !== undefined && flag) this.begin(seat, first);
      const isTold = first instanceof Call && first.task === undefined ? flag : taskOf(first)?.care !== "loose";
      this.scheduler.lost(seat, isTold);
    } else if (flag && inbox[0] instanceof Call) {
      this.answerCalls(seat, inbox);
    } else if (inbox[0] !== undefined) {
      if (inbox[0] instanceof Call && inbox[0].task === undefined) seat.make(inbox[0]);
      const task = taskOf(inbox[0]) as Task;
      this.begin(seat, task);
      const items = flag || task.items === 1 ? task.items - task.answered : 1;
      const done = this.done.get(this.messages.get(task)!) ?? new Set();
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

  /** So many answers arrive together. */
  answerCalls(seat: Seat, inbox: (Task | Call)[]): void {
    const end = inbox.findIndex((each) => !(each instanceof Call) || (each.task?.care ?? "loose") !== "loose");
    const calls = inbox.splice(0, Math.max(1, end < 0 ? inbox.length : end));
    for (const call of calls) {
      this.begin(seat, call);
      if ((taskOf(call)?.state ?? "sent") === "sent") this.settle(call, "answered");
    }
    const answered = this.scheduler.answeredAll(seat, calls.length, TINY);
    expect(answered).toEqual(calls.map((call) => taskOf(call) ?? call));
  }

  /** A call has become a task. */
  made(call: Call, task: Task): void {
    this.calls.set(task, call);
  }

  drop(task: Task | Call, isHard: boolean): void {
    if (task instanceof Task) return this.scheduler.drop(task, isHard);
    if (task.left > 0) return this.scheduler.withdraw(task);
    if (task.task === undefined) for (const seat of this.scheduler.seats) seat.make(task);
    this.scheduler.drop(task.task!, isHard);
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
      if (taskOf(this.inboxes.get(seat)?.[0]) !== task) continue;
      const isWaiting = this.underWay.has(task);
      const left = task.items - task.answered - (isWaiting ? 1 : 0);
      this.scheduler.shared(seat, task.items - (isWaiting ? Math.ceil(left / 2) : Math.floor(left / 2)));
      if (seat.running?.state === "sent") expect(task.items).toBeGreaterThan(task.answered);
    }
  }

  /** Workers give back what they have not begun. */
  giveBack(): void {
    for (const [seat, task] of this.recalled.splice(0)) {
      const inbox = this.inboxes.get(seat);
      const at = inbox?.findIndex((each) => taskOf(each) === task) ?? -1;
      if (at < 0 || this.underWay.has(this.calls.get(task) ?? task)) continue;
      inbox?.splice(at, 1);
      this.scheduler.returned(seat, task.ordinal);
    }
  }

  /** The news of those who were killed. */
  bury(): void {
    for (const seat of this.killed.splice(0)) this.scheduler.lost(seat, false);
  }

  begin(seat: Seat, one: Task | Call): void {
    const key = (one instanceof Task && this.calls.get(one)) || one;
    if (this.underWay.has(key)) return;
    this.underWay.add(key);
    this.begun.set(key, (this.begun.get(key) ?? 0) + 1);
    const task = taskOf(one);
    if (task === undefined) return;
    if (task.care === "careful" || task.items > 1) this.scheduler.began(seat);
  }

  check(): void {
    for (const { count, ms, bytes, state } of this.scheduler.seats) {
      expect(count).toBeLessThanOrEqual(256);
      if (count > 1) expect(ms).toBeLessThanOrEqual(1 + 1e-9);
      expect(bytes).toBe(10 * count);
      if (state === "ready" && count === 0) expect(this.scheduler.queued).toBe(0);
    }
    for (const [seat, inbox] of this.inboxes) {
      expect(inbox.length).toBe(seat.count);
      const cost = inbox.reduce((sum, one) => sum + this.sent.get(one)!.cost, 0);
      if (seat.count > 1) expect(seat.ms).toBeCloseTo(cost, 9);
      for (const one of inbox) if (taskOf(one)) this.checkTask(one, taskOf(one)!);
      // To look at the tasks has them made.
      if (inbox.every((one) => taskOf(one) !== undefined)) expect(inbox.map(taskOf)).toEqual(seat.tasks);
    }
    expect(this.scheduler.pending).toBe(this.submitted.length - this.settled.size);
  }

  checkTask(one: Task | Call, { state, ordinal, care }: Task): void {
    const { ordinal: wanted, care: told } = this.sent.get(one)!;
    expect(["sent", "dropped"]).toContain(state);
    expect([ordinal, care]).toEqual([wanted, told]);
  }

  settle(one: Task | Call, how: string): void {
    const key = (one instanceof Task && this.calls.get(one)) || one;
    expect(this.settled.get(key)).toBeUndefined();
    this.settled.set(key, how);
  }

  start(seat: Seat): void {
    this.inboxes.set(seat, []);
  }

  send(seat: Seat, task: Task): void {
    const key = this.calls.get(task) ?? task;
    // A careful task that was begun is not begun again, unless that is allowed.
    if (task.care !== "loose" && !task.isSuspect) expect(this.begun.get(key) ?? 0).toBeLessThanOrEqual(task.losses);
    this.#sent(seat, key);
  }

  sendBrief(seat: Seat, call: Brief<Task>): void {
    expect((call as Call).task).toBeUndefined();
    this.#sent(seat, call as Call);
  }

  #sent(seat: Seat, one: Task | Call): void {
    this.underWay.delete(one);
    this.inboxes.get(seat)!.push(one);
    const count = this.counts.get(seat) ?? 0;
    this.counts.set(seat, count + 1);
    this.sent.set(one, { ordinal: count, care: taskOf(one)?.care ?? "loose", cost: one.expected });
  }

  tell(): void {}

  recall(seat: Seat, tasks: readonly Task[]): void {
    this.recalled.push(...tasks.map((task) => [seat, task] as const));
  }

  share(seat: Seat, task: Task): void {
    expect(seat.head).toBe(task);
    expect([...this.scheduler.seats].some(({ state, count }) => state === "ready" && count === 0)).toBe(true);
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

/** The task that something is, or has become. */
function taskOf(one: Task | Call | undefined): Task | undefined {
  return one instanceof Call ? one.task : one;
}
