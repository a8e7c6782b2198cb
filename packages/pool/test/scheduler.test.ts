import { describe, expect, test } from "vitest";
import { schedulerHarness } from "./scheduler-harness.ts";

const SLOW_MS = 5;
const TINY_MS = 0.001;

describe("windows", () => {
  test("tasks of unknown length go one to each worker, in order", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness();
    up();
    for (const name of ["a", "b", "c", "d"]) submit(name);
    expect(log()).toEqual(["send a to w1", "send b to w2"]);
    scheduler.answered(seats[1]!, 1, SLOW_MS, true);
    scheduler.answered(seats[0]!, 1, SLOW_MS, true);
    expect(log()).toEqual(["send c to w2", "send d to w1"]);
  });

  test("slow tasks are never sent ahead", () => {
    const { up, submit, log } = schedulerHarness({ processes: 1 });
    up();
    for (const name of ["a", "b"]) submit(name, SLOW_MS);
    expect(log()).toEqual(["send a to w1"]);
  });

  test("tiny tasks are sent ahead, to the worker with the fewest, at most 1024", () => {
    const { up, submit, log, seats } = schedulerHarness();
    up();
    for (let i = 0; i < 3000; i++) submit(`t${i}`, TINY_MS / 4);
    expect(log().slice(0, 4)).toEqual(["send t0 to w1", "send t1 to w2", "send t2 to w1", "send t3 to w2"]);
    expect(seats.map((slot) => slot.tasks.length)).toEqual([1024, 1024]);
  });

  test("no more than a millisecond of work is sent ahead", () => {
    const { up, submit, seats } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 20; i++) submit(`t${i}`, 0.1);
    expect(seats[0]!.tasks).toHaveLength(10);
  });

  test("nothing is sent behind a slow task or one of unknown length", () => {
    const { up, submit, seats } = schedulerHarness({ processes: 2 });
    up();
    submit("slow", SLOW_MS);
    submit("unknown");
    submit("tiny", TINY_MS);
    expect(seats.map((slot) => slot.tasks.length)).toEqual([1, 1]);
  });

  test("tasks behind one that takes longer than it should are asked back, and go to others", () => {
    const { scheduler, up, submit, seats, clock, log } = schedulerHarness();
    up();
    for (const name of ["a", "b", "c", "d"]) submit(name, TINY_MS);
    scheduler.answered(seats[1]!, 1, TINY_MS, true);
    scheduler.answered(seats[1]!, 1, TINY_MS, true);
    clock.now = 5;
    scheduler.tick();
    clock.now = 10;
    log();
    scheduler.tick();
    expect(log()).toEqual(["recall c from w1"]);
    scheduler.returned(seats[0]!, 1);
    expect(log()).toEqual(["send c to w2"]);
    for (const name of ["e", "f"]) submit(name, TINY_MS);
    expect(log()).toEqual(["send e to w2", "send f to w2"]);
    scheduler.answered(seats[0]!, 1, TINY_MS, true);
    submit("g", TINY_MS);
    expect(log()).toEqual(["send g to w1"]);
  });

  test("a worker that has done its share is stopped between tasks, and replaced", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1, maxTasksPerChild: 2 });
    up();
    for (const name of ["a", "b", "c"]) submit(name, TINY_MS);
    expect(log()).toEqual(["send a to w1", "send b to w1"]);
    scheduler.answered(seats[0]!, 1, TINY_MS, true);
    scheduler.answered(seats[0]!, 1, TINY_MS, true);
    expect(log()).toEqual(["stop w1", "start w2"]);
    scheduler.ready(seats[1]!);
    expect(log()).toEqual(["send c to w2"]);
  });

  test("a task that was given back is none of a worker's share", () => {
    const { scheduler, up, submit, seats, clock, log } = schedulerHarness({ maxTasksPerChild: 2 });
    up();
    for (const name of ["a", "b", "c", "d"]) submit(name, TINY_MS);
    clock.now = 5;
    scheduler.tick();
    clock.now = 10;
    scheduler.tick();
    log();
    scheduler.returned(seats[0]!, 1);
    scheduler.answered(seats[0]!, 1, 10, true);
    expect(log()).toEqual(["send c to w1"]);
    scheduler.answered(seats[0]!, 1, TINY_MS, true);
    expect(log()).toEqual(["stop w1", "start w3"]);
  });
});

describe("a lost worker", () => {
  test("fails the task it ran, and no other", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    for (const name of ["a", "b", "c"]) submit(name, 0.1);
    scheduler.answered(seats[0]!, 1, 0.1, true);
    scheduler.began(seats[0]!);
    log();
    scheduler.lost(seats[0]!, true);
    expect(log()).toEqual(["fail b by w1", "start w2"]);
    scheduler.ready(seats[1]!);
    expect(log()).toEqual(["send c to w2"]);
  });

  test("does not fail a task that it had not begun", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    const task = submit("a");
    expect(task.ackMode).toBe("sync");
    scheduler.lost(seats[0]!, false);
    scheduler.ready(seats[1]!);
    scheduler.began(seats[1]!);
    expect(log()).toEqual(["send a to w1", "start w2", "send a to w2"]);
    scheduler.lost(seats[1]!, false);
    expect(log()).toEqual(["fail a by w2", "start w3"]);
  });

  test("has its task tried again as often as allowed", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a", undefined, { retries: 1 });
    scheduler.began(seats[0]!);
    scheduler.lost(seats[0]!, false);
    scheduler.ready(seats[1]!);
    scheduler.began(seats[1]!);
    scheduler.lost(seats[1]!, false);
    expect(log()).toEqual(["send a to w1", "start w2", "send a to w2", "fail a by w2", "start w3"]);
  });

  test("that was killed while answers travelled together has its tasks sent again, carefully", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    const tasks = ["a", "b"].map((name) => submit(name, TINY_MS));
    scheduler.lost(seats[0]!, false);
    scheduler.ready(seats[1]!);
    expect(tasks.map((task) => task.ackMode)).toEqual(["sync", "sync"]);
    scheduler.began(seats[1]!);
    scheduler.answered(seats[1]!, 1, TINY_MS, true);
    scheduler.began(seats[1]!);
    scheduler.lost(seats[1]!, false);
    expect(log().at(-2)).toBe("fail b by w2");
  });

  test("loses only the rest of a chunk", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    const task = submit("a", SLOW_MS, { items: 4, retries: 1 });
    scheduler.began(seats[0]!);
    scheduler.answered(seats[0]!, 3, SLOW_MS, false);
    scheduler.lost(seats[0]!, false);
    scheduler.ready(seats[1]!);
    expect(task.answeredCount).toBe(3);
    expect(task.expectedMs).toBe(SLOW_MS);
    expect(log().at(-1)).toBe("send a to w2");
  });

  test("that had a task which kills every worker does not take the others' work down", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 20; i++) {
      submit(`killer ${i}`, SLOW_MS);
      const slot = seats.at(-1)!;
      scheduler.ready(slot);
      scheduler.began(slot);
      scheduler.lost(slot, true);
    }
    expect(log()).not.toContain("give up");
    expect(scheduler.pendingCount).toBe(0);
  });
});

describe("workers that cannot be had", () => {
  test("when none was ever ready, all work is given up", () => {
    const { scheduler, seats, submit, log } = schedulerHarness();
    submit("a");
    scheduler.lost(seats[0]!, true);
    expect(log()).toEqual(["start w1", "start w2"]);
    scheduler.lost(seats[1]!, true);
    expect(log()).toEqual(["give up", "abandon a"]);
    submit("b");
    expect(log()).toEqual(["abandon b"]);
  });

  test("a failing initializer ends the pool at once", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness();
    up();
    submit("a");
    scheduler.lost(seats[1]!, true, true);
    expect(log()).toEqual(["send a to w1", "give up", "terminate w1", "abandon a"]);
  });

  test("idle workers that go again and again are not replaced for ever", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 20; i++) {
      const slot = seats.at(-1)!;
      scheduler.ready(slot);
      scheduler.lost(slot, true);
    }
    expect(log().at(-1)).toBe("start w8");
    submit("a");
    expect(log()).toEqual(["start w9"]);
    scheduler.lost(seats.at(-1)!, true);
    expect(log()).toEqual(["give up", "abandon a"]);
  });

  test("where some can be had and others cannot, the pool goes on with those, and tries again later", () => {
    const { scheduler, submit, seats, clock, log } = schedulerHarness();
    scheduler.startMissing();
    scheduler.ready(seats[0]!);
    submit("a");
    scheduler.answered(seats[0]!, 1, SLOW_MS, true);
    for (let i = 1; i < 9; i++) scheduler.lost(seats[i]!, true);
    expect(log().at(-1)).toBe("start w9");
    for (const name of ["b", "c"]) submit(name);
    scheduler.answered(seats[0]!, 1, SLOW_MS, true);
    expect(log()).toEqual(["send b to w1", "send c to w1"]);
    clock.now = 5000;
    submit("d");
    expect(log()).toEqual(["start w10"]);
  });

  test("workers that worked and then went idle are replaced", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    for (let i = 0; i < 10; i++) {
      const slot = seats.at(-1)!;
      scheduler.ready(slot);
      submit("a");
      scheduler.answered(slot, 1, SLOW_MS, true);
      scheduler.lost(slot, true);
    }
    expect(log().filter((line) => line.startsWith("start"))).toHaveLength(10);
  });
});

describe("dropping and time", () => {
  test("a dropped task that waits is never sent", () => {
    const { scheduler, up, submit, seats, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a");
    const b = submit("b");
    submit("c");
    scheduler.cancel(b, true);
    scheduler.answered(seats[0]!, 1, SLOW_MS, true);
    expect(log()).toEqual(["send a to w1", "send c to w1"]);
    expect(scheduler.pendingCount).toBe(1);
  });

  test("a running task that is dropped gets its grace, then its worker is killed", () => {
    const { scheduler, up, submit, seats, clock, alarm, log } = schedulerHarness({ processes: 1 });
    up();
    const a = submit("a");
    submit("b");
    scheduler.cancel(a, true);
    expect(log()).toEqual(["send a to w1", "drop a at w1"]);
    expect(alarm.at).toBe(100);
    clock.now = 100;
    scheduler.tick();
    expect(log()).toEqual(["kill w1"]);
    scheduler.lost(seats[0]!, false);
    scheduler.ready(seats[1]!);
    expect(log()).toEqual(["start w2", "send b to w2"]);
  });

  test("a worker that stops a dropped task in time stays", () => {
    const { scheduler, up, submit, seats, clock, log } = schedulerHarness({ processes: 1 });
    up();
    scheduler.cancel(submit("a"), true);
    scheduler.answered(seats[0]!, 1, SLOW_MS, true);
    log();
    clock.now = 100;
    scheduler.tick();
    expect(log()).toEqual([]);
  });

  test("a task whose time runs out fails, and its worker gets the grace", () => {
    const { scheduler, up, submit, clock, alarm, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a", SLOW_MS, { timeout: 50 });
    expect(log()).toEqual(["send a to w1"]);
    expect(alarm.at).toBe(50);
    clock.now = 60;
    scheduler.tick();
    expect(log()).toEqual(["expire a at w1", "drop a at w1"]);
    expect(alarm.at).toBe(160);
    clock.now = 160;
    scheduler.tick();
    expect(log()).toEqual(["kill w1"]);
  });

  test("the time of a chunk counts for each item", () => {
    const { scheduler, up, submit, seats, clock, alarm, log } = schedulerHarness({ processes: 1 });
    up();
    submit("a", SLOW_MS, { timeout: 50, items: 3 });
    clock.now = 40;
    scheduler.answered(seats[0]!, 1, SLOW_MS, false);
    clock.now = 60;
    log();
    scheduler.tick();
    expect(log()).toEqual([]);
    expect(alarm.at).toBe(90);
  });

  test("finish() stops workers when they are done, terminate() ends them at once", () => {
    const { scheduler, up, submit, log } = schedulerHarness();
    up();
    scheduler.finish();
    expect(log()).toEqual(["stop w1", "stop w2"]);
    submit("late");
    expect(log()).toEqual(["abandon late"]);
    const other = schedulerHarness();
    other.up();
    for (const name of ["a", "b", "c"]) other.submit(name);
    other.log();
    other.scheduler.terminate();
    expect(other.log()).toEqual(["terminate w1", "terminate w2", "abandon c", "abandon a", "abandon b"]);
  });
});
