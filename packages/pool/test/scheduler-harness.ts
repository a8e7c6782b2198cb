/**
 * A test harness: a scheduler without a pool, whose commands are logged and whose clock stands
 * still.
 */

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

/** Creates a harness. Its `log()` returns the commands since the last call. */
export function schedulerHarness(options: Partial<SchedulerOptions> = {}) {
  const log: string[] = [];
  const names = new Map<Task, string>();
  const slots: WorkerSlot[] = [];
  const clock = { now: 0 };
  const timer = { at: Number.POSITIVE_INFINITY };
  const nameOf = (slot: WorkerSlot) => `w${slots.indexOf(slot) + 1}`;
  const commands: SchedulerCommands<Task, unknown> = {
    start: (slot) => void log.push(`start w${slots.push(slot)}`),
    send: (slot, task) => void log.push(`send ${names.get(task)} to ${nameOf(slot)}`),
    sendLazyTask: () => {
      throw new Error("No lazy task was submitted");
    },
    cancel: (slot, task) => void log.push(`cancel ${names.get(task)} at ${nameOf(slot)}`),
    split: (slot, task) => void log.push(`split ${names.get(task)} of ${nameOf(slot)}`),
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
    timeOut: (task, slot) => void log.push(`time out ${names.get(task)} at ${nameOf(slot)}`),
    reject: (task) => void log.push(`reject ${names.get(task)}`),
    failPool: () => void log.push("fail pool"),
    setTimer: (at) => void (timer.at = at),
  };
  const scheduler = new Scheduler({ processes: 2, gracePeriod: 100, ...options }, commands, () => clock.now);
  return {
    scheduler,
    slots,
    clock,
    /** The timer that the scheduler set last. */
    timer,
    /** Starts all workers and makes them ready. */
    up(): void {
      scheduler.startMissing();
      for (const slot of slots) scheduler.ready(slot);
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
