/** A scheduler without a pool around it, for the tests: its commands are noted, and its clock stands still. */

import { Scheduler } from "../src/scheduler/scheduler.ts";
import { type Commands, Estimate, type SchedulerOptions, Task } from "../src/scheduler/task.ts";
import type { Seat } from "../src/scheduler/worker-slot.ts";

interface TaskTraits {
  items?: number;
  retries?: number;
  timeout?: number;
}

/** What the tests drive; `log()` gives the commands since the last call. */
export function rig(options: Partial<SchedulerOptions> = {}) {
  const log: string[] = [];
  const names = new Map<Task, string>();
  const seats: Seat[] = [];
  const clock = { now: 0 };
  const alarm = { at: Number.POSITIVE_INFINITY };
  const nameOf = (seat: Seat) => `w${seats.indexOf(seat) + 1}`;
  const commands: Commands<Task, unknown> = {
    start: (seat) => void log.push(`start w${seats.push(seat)}`),
    send: (seat, task) => void log.push(`send ${names.get(task)} to ${nameOf(seat)}`),
    sendBrief: () => {
      throw new Error("Nothing brief was submitted");
    },
    tell: (seat, task) => void log.push(`drop ${names.get(task)} at ${nameOf(seat)}`),
    share: (seat, task) => void log.push(`share ${names.get(task)} of ${nameOf(seat)}`),
    again: (task) => {
      const rest = new Task(task.estimate, task.items, 10, task);
      names.set(rest, `rest of ${names.get(task)}`);
      return rest;
    },
    recall: (seat, list) => void log.push(`recall ${list.map((task) => names.get(task))} from ${nameOf(seat)}`),
    stop: (seat) => void log.push(`stop ${nameOf(seat)}`),
    kill: (seat) => void log.push(`kill ${nameOf(seat)}`),
    terminate: (seat) => void log.push(`terminate ${nameOf(seat)}`),
    fail: (task, seat) => void log.push(`fail ${names.get(task)} by ${nameOf(seat)}`),
    expire: (task, seat) => void log.push(`expire ${names.get(task)} at ${nameOf(seat)}`),
    abandon: (task) => void log.push(`abandon ${names.get(task)}`),
    giveUp: () => void log.push("give up"),
    alarm: (at) => void (alarm.at = at),
  };
  const scheduler = new Scheduler({ processes: 2, graceMs: 100, ...options }, commands, () => clock.now);
  return {
    scheduler,
    seats,
    clock,
    /** When the scheduler last wanted to be called. */
    alarm,
    /** Hires, and has all workers ready. */
    up(): void {
      scheduler.hire();
      for (const seat of seats) scheduler.ready(seat);
      log.length = 0;
    },
    submit(name: string, ms: number = Number.NaN, traits: TaskTraits = {}): Task {
      const estimate = new Estimate();
      if (!Number.isNaN(ms)) estimate.learn(ms);
      const made = new Task(estimate, traits.items ?? 1, 10, traits);
      names.set(made, name);
      scheduler.submit(made);
      return made;
    },
    log: (): string[] => log.splice(0),
  };
}
