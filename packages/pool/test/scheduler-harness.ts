/** A scheduler without a pool around it, for the tests: its commands are noted, and its clock stands still. */

import { DurationEstimate } from "../src/scheduler/duration-estimate.ts";
import { Scheduler } from "../src/scheduler/scheduler.ts";
import type { SchedulerCommands, SchedulerOptions } from "../src/scheduler/scheduler-commands.ts";
import { Task } from "../src/scheduler/task.ts";
import type { WorkerSlot } from "../src/scheduler/worker-slot.ts";

interface TaskTraits {
  items?: number;
  retries?: number;
  timeout?: number;
}

/** What the tests drive; `log()` gives the commands since the last call. */
export function schedulerHarness(options: Partial<SchedulerOptions> = {}) {
  const log: string[] = [];
  const names = new Map<Task, string>();
  const seats: WorkerSlot[] = [];
  const clock = { now: 0 };
  const alarm = { at: Number.POSITIVE_INFINITY };
  const nameOf = (slot: WorkerSlot) => `w${seats.indexOf(slot) + 1}`;
  const commands: SchedulerCommands<Task, unknown> = {
    start: (slot) => void log.push(`start w${seats.push(slot)}`),
    send: (slot, task) => void log.push(`send ${names.get(task)} to ${nameOf(slot)}`),
    sendLazyTask: () => {
      throw new Error("Nothing brief was submitted");
    },
    cancel: (slot, task) => void log.push(`drop ${names.get(task)} at ${nameOf(slot)}`),
    split: (slot, task) => void log.push(`share ${names.get(task)} of ${nameOf(slot)}`),
    cloneForRest: (task) => {
      const rest = new Task(task.estimate, task.itemCount, 10, task);
      names.set(rest, `rest of ${names.get(task)}`);
      return rest;
    },
    recall: (slot, list) => void log.push(`recall ${list.map((task) => names.get(task))} from ${nameOf(slot)}`),
    stop: (slot) => void log.push(`stop ${nameOf(slot)}`),
    kill: (slot) => void log.push(`kill ${nameOf(slot)}`),
    terminate: (slot) => void log.push(`terminate ${nameOf(slot)}`),
    fail: (task, slot) => void log.push(`fail ${names.get(task)} by ${nameOf(slot)}`),
    timeOut: (task, slot) => void log.push(`expire ${names.get(task)} at ${nameOf(slot)}`),
    reject: (task) => void log.push(`abandon ${names.get(task)}`),
    failPool: () => void log.push("give up"),
    setTimer: (at) => void (alarm.at = at),
  };
  const scheduler = new Scheduler({ processes: 2, gracePeriod: 100, ...options }, commands, () => clock.now);
  return {
    scheduler,
    seats,
    clock,
    /** When the scheduler last wanted to be called. */
    alarm,
    /** Hires, and has all workers ready. */
    up(): void {
      scheduler.startMissing();
      for (const slot of seats) scheduler.ready(slot);
      log.length = 0;
    },
    submit(name: string, ms: number = Number.NaN, traits: TaskTraits = {}): Task {
      const estimate = new DurationEstimate();
      if (!Number.isNaN(ms)) estimate.record(ms);
      const made = new Task(estimate, traits.items ?? 1, 10, traits);
      names.set(made, name);
      scheduler.submit(made);
      return made;
    },
    log: (): string[] => log.splice(0),
  };
}
