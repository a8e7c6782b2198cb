import { describe, expect, test } from "vitest";
import { schedulerHarness } from "./scheduler-harness.ts";

const SLOW_MS = 5;
const TINY_MS = 0.001;

describe("prefetch", () => {
  test("tasks of unknown duration go one to each worker, in order", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness();
    up();
    for (const name of ["a", "b", "c", "d"]) submit(name);
    expect(log()).toEqual(["send a to w1", "send b to w2"]);
    scheduler.answered(slots[1]!, 1, SLOW_MS, true);
    scheduler.answered(slots[0]!, 1, SLOW_MS, true);
    expect(log()).toEqual(["send c to w2", "send d to w1"]);
  });

  test("slow tasks are never prefetched", () => {
    const { up, submit, log } = schedulerHarness({ processes: 1 });
    up();
    for (const name of ["a", "b"]) submit(name, SLOW_MS);
    expect(log()).toEqual(["send a to w1"]);
  });

  test("tiny tasks are prefetched by the worker with the fewest, at most 1024", () => {
    const { up, submit, log, slots } = schedulerHarness();
    up();
    for (let i = 0; i < 3000; i++) submit(`t${i}`, TINY_MS / 4);
    expect(log().slice(0, 4)).toEqual(["send t0 to w1", "send t1 to w2", "send t2 to w1", "send t3 to w2"]);
    expect(slots.map((slot) => slot.tasks.length)).toEqual([1024, 1024]);
  });

  test("a worker prefetches at most a millisecond of work", () => {
    const { up, submit, slots } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 20; i++) submit(`t${i}`, 0.1);
    expect(slots[0]!.tasks).toHaveLength(10);
  });

  test("nothing is sent behind a slow task or a task of unknown duration", () => {
    const { up, submit, slots } = schedulerHarness({ processes: 2 });
    up();
    submit("slow", SLOW_MS);
    submit("unknown");
    submit("tiny", TINY_MS);
    expect(slots.map((slot) => slot.tasks.length)).toEqual([1, 1]);
  });

  test("tasks that stall behind a slow one are recalled, and go to other workers", () => {
    const { scheduler, up, submit, slots, clock, log } = schedulerHarness();
    up();
    for (const name of ["a", "b", "c", "d"]) submit(name, TINY_MS);
    scheduler.answered(slots[1]!, 1, TINY_MS, true);
    scheduler.answered(slots[1]!, 1, TINY_MS, true);
    clock.now = 5;
    scheduler.tick();
    clock.now = 10;
    log();
    scheduler.tick();
    expect(log()).toEqual(["recall c from w1"]);
    scheduler.returned(slots[0]!, 1);
    expect(log()).toEqual(["send c to w2"]);
    for (const name of ["e", "f"]) submit(name, TINY_MS);
    expect(log()).toEqual(["send e to w2", "send f to w2"]);
    scheduler.answered(slots[0]!, 1, TINY_MS, true);
    submit("g", TINY_MS);
    expect(log()).toEqual(["send g to w1"]);
  });

  test("a worker is replaced after maxTasksPerChild tasks", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1, maxTasksPerChild: 2 });
    up();
    for (const name of ["a", "b", "c"]) submit(name, TINY_MS);
    expect(log()).toEqual(["send a to w1", "send b to w1"]);
    scheduler.answered(slots[0]!, 1, TINY_MS, true);
    scheduler.answered(slots[0]!, 1, TINY_MS, true);
    expect(log()).toEqual(["stop w1", "start w2"]);
    scheduler.ready(slots[1]!);
    expect(log()).toEqual(["send c to w2"]);
  });

  test("a task that was given back does not count for maxTasksPerChild", () => {
    const { scheduler, up, submit, slots, clock, log } = schedulerHarness({ maxTasksPerChild: 2 });
    up();
    for (const name of ["a", "b", "c", "d"]) submit(name, TINY_MS);
    clock.now = 5;
    scheduler.tick();
    clock.now = 10;
    scheduler.tick();
    log();
    scheduler.returned(slots[0]!, 1);
    scheduler.answered(slots[0]!, 1, 10, true);
    expect(log()).toEqual(["send c to w1"]);
    scheduler.answered(slots[0]!, 1, TINY_MS, true);
    expect(log()).toEqual(["stop w1", "start w3"]);
  });
});

describe("a lost worker", () => {
  test("a lost worker fails the task it ran, and no other", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    for (const name of ["a", "b", "c"]) submit(name, 0.1);
    scheduler.answered(slots[0]!, 1, 0.1, true);
    scheduler.began(slots[0]!);
    log();
    scheduler.lost(slots[0]!, true);
    expect(log()).toEqual(["fail b by w1", "start w2"]);
    scheduler.ready(slots[1]!);
    expect(log()).toEqual(["send c to w2"]);
  });

  test("a lost worker does not fail a task that it had not begun", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    const task = submit("a");
    expect(task.ackMode).toBe("sync");
    scheduler.lost(slots[0]!, false);
    scheduler.ready(slots[1]!);
    scheduler.began(slots[1]!);
    expect(log()).toEqual(["send a to w1", "start w2", "send a to w2"]);
    scheduler.lost(slots[1]!, false);
    expect(log()).toEqual(["fail a by w2", "start w3"]);
  });

  test("a lost worker fails its task only after all retries", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a", undefined, { retries: 1 });
    scheduler.began(slots[0]!);
    scheduler.lost(slots[0]!, false);
    scheduler.ready(slots[1]!);
    scheduler.began(slots[1]!);
    scheduler.lost(slots[1]!, false);
    expect(log()).toEqual(["send a to w1", "start w2", "send a to w2", "fail a by w2", "start w3"]);
  });

  test("tasks of a worker that was killed in a batch are retried in sync mode", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    const tasks = ["a", "b"].map((name) => submit(name, TINY_MS));
    scheduler.lost(slots[0]!, false);
    scheduler.ready(slots[1]!);
    expect(tasks.map((task) => task.ackMode)).toEqual(["sync", "sync"]);
    scheduler.began(slots[1]!);
    scheduler.answered(slots[1]!, 1, TINY_MS, true);
    scheduler.began(slots[1]!);
    scheduler.lost(slots[1]!, false);
    expect(log().at(-2)).toBe("fail b by w2");
  });

  test("a lost worker loses only the rest of a chunk", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    const task = submit("a", SLOW_MS, { items: 4, retries: 1 });
    scheduler.began(slots[0]!);
    scheduler.answered(slots[0]!, 3, SLOW_MS, false);
    scheduler.lost(slots[0]!, false);
    scheduler.ready(slots[1]!);
    expect(task.answeredCount).toBe(3);
    expect(task.expectedMs).toBe(SLOW_MS);
    expect(log().at(-1)).toBe("send a to w2");
  });

  test("a lost worker is replaced again and again while tasks kill every worker", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 20; i++) {
      submit(`killer ${i}`, SLOW_MS);
      const slot = slots.at(-1)!;
      scheduler.ready(slot);
      scheduler.began(slot);
      scheduler.lost(slot, true);
    }
    expect(log()).not.toContain("fail pool");
    expect(scheduler.pendingCount).toBe(0);
  });
});

describe("workers that cannot start", () => {
  test("if no worker was ever ready, the pool fails and all tasks are rejected", () => {
    const { scheduler, slots, submit, log } = schedulerHarness();
    submit("a");
    scheduler.lost(slots[0]!, true);
    expect(log()).toEqual(["start w1", "start w2"]);
    scheduler.lost(slots[1]!, true);
    expect(log()).toEqual(["fail pool", "reject a"]);
    submit("b");
    expect(log()).toEqual(["reject b"]);
  });

  test("a failing initializer fails the pool at once", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness();
    up();
    submit("a");
    scheduler.lost(slots[1]!, true, true);
    expect(log()).toEqual(["send a to w1", "fail pool", "terminate w1", "reject a"]);
  });

  test("idle workers that end again and again are not replaced forever", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 20; i++) {
      const slot = slots.at(-1)!;
      scheduler.ready(slot);
      scheduler.lost(slot, true);
    }
    expect(log().at(-1)).toBe("start w8");
    submit("a");
    expect(log()).toEqual(["start w9"]);
    scheduler.lost(slots.at(-1)!, true);
    expect(log()).toEqual(["fail pool", "reject a"]);
  });

  test("if only some workers can start, the pool continues with them and retries later", () => {
    const { scheduler, submit, slots, clock, log } = schedulerHarness();
    scheduler.startMissing();
    scheduler.ready(slots[0]!);
    submit("a");
    scheduler.answered(slots[0]!, 1, SLOW_MS, true);
    for (let i = 1; i < 9; i++) scheduler.lost(slots[i]!, true);
    expect(log().at(-1)).toBe("start w9");
    for (const name of ["b", "c"]) submit(name);
    scheduler.answered(slots[0]!, 1, SLOW_MS, true);
    expect(log()).toEqual(["send b to w1", "send c to w1"]);
    clock.now = 5000;
    submit("d");
    expect(log()).toEqual(["start w10"]);
  });

  test("workers that completed tasks and end while idle are replaced", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 10; i++) {
      const slot = slots.at(-1)!;
      scheduler.ready(slot);
      submit("a");
      scheduler.answered(slot, 1, SLOW_MS, true);
      scheduler.lost(slot, true);
    }
    expect(log().filter((line) => line.startsWith("start"))).toHaveLength(10);
  });
});

describe("cancellation and timeouts", () => {
  test("a task that is cancelled in the queue is never sent", () => {
    const { scheduler, up, submit, slots, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a");
    const b = submit("b");
    submit("c");
    scheduler.cancel(b, true);
    scheduler.answered(slots[0]!, 1, SLOW_MS, true);
    expect(log()).toEqual(["send a to w1", "send c to w1"]);
    expect(scheduler.pendingCount).toBe(1);
  });

  test("the worker of a cancelled task is killed after the grace period", () => {
    const { scheduler, up, submit, slots, clock, timer, log } = schedulerHarness({ processes: 1 });
    up();
    const a = submit("a");
    submit("b");
    scheduler.cancel(a, true);
    expect(log()).toEqual(["send a to w1", "cancel a at w1"]);
    expect(timer.at).toBe(100);
    clock.now = 100;
    scheduler.tick();
    expect(log()).toEqual(["kill w1"]);
    scheduler.lost(slots[0]!, false);
    scheduler.ready(slots[1]!);
    expect(log()).toEqual(["start w2", "send b to w2"]);
  });

  test("a worker that stops a cancelled task in time is not killed", () => {
    const { scheduler, up, submit, slots, clock, log } = schedulerHarness({ processes: 1 });
    up();
    scheduler.cancel(submit("a"), true);
    scheduler.answered(slots[0]!, 1, SLOW_MS, true);
    log();
    clock.now = 100;
    scheduler.tick();
    expect(log()).toEqual([]);
  });

  test("a task fails at its timeout, and its worker gets the grace period", () => {
    const { scheduler, up, submit, clock, timer, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a", SLOW_MS, { timeout: 50 });
    expect(log()).toEqual(["send a to w1"]);
    expect(timer.at).toBe(50);
    clock.now = 60;
    scheduler.tick();
    expect(log()).toEqual(["time out a at w1", "cancel a at w1"]);
    expect(timer.at).toBe(160);
    clock.now = 160;
    scheduler.tick();
    expect(log()).toEqual(["kill w1"]);
  });

  test("the timeout of a chunk is for each item", () => {
    const { scheduler, up, submit, slots, clock, timer, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a", SLOW_MS, { timeout: 50, items: 3 });
    clock.now = 40;
    scheduler.answered(slots[0]!, 1, SLOW_MS, false);
    clock.now = 60;
    log();
    scheduler.tick();
    expect(log()).toEqual([]);
    expect(timer.at).toBe(90);
  });

  test("finish() stops workers after their tasks, terminate() ends them at once", () => {
    const { scheduler, up, submit, log } = schedulerHarness();
    up();
    scheduler.finish();
    expect(log()).toEqual(["stop w1", "stop w2"]);
    submit("late");
    expect(log()).toEqual(["reject late"]);
    const other = schedulerHarness();
    other.up();
    for (const name of ["a", "b", "c"]) other.submit(name);
    other.log();
    other.scheduler.terminate();
    expect(other.log()).toEqual(["terminate w1", "terminate w2", "reject c", "reject a", "reject b"]);
  });
});
