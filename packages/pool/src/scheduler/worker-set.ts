/** The workers as the scheduler sees them: when another is started, which one has room, and which one could share. */
import { type Commands, type SchedulerOptions, Task, type Waiting } from "./task.ts";
import { Seat } from "./worker-slot.ts";

/** How many tasks a worker has at most, the running one among them. What leaves and arrives together costs one call of the system. */
const WINDOW = 1024;
/** How much work waits at a worker, in milliseconds. */
const AHEAD_MS = 1;
/** How many bytes wait at a worker. */
const AHEAD_BYTES = 1024 * 1024;
/** What takes less than this is not worth sharing, in milliseconds. */
export const SHARE_MS = 2;
/** How many workers in a row may be lost without having done anything; then no more are started for a while. */
const MAX_FAILURES = 8;
const REST_MS = 5000;

/** Workers that come and go. */
export class Staff<T extends Task, L> {
  readonly seats: Set<Seat<T, L>> = new Set();
  /** No more are started. */
  isClosed = false;
  readonly #options: SchedulerOptions;
  readonly #commands: Commands<T, L>;
  readonly #now: () => number;
  /** Workers in a row that were lost without having done anything, and when another may be tried. */
  #failures = 0;
  #restUntil = 0;
  #wasEverReady = false;

  constructor(options: SchedulerOptions, commands: Commands<T, L>, now: () => number) {
    this.#options = options;
    this.#commands = commands;
    this.#now = now;
  }

  /** How many workers there are, or are about to be. */
  get working(): number {
    let working = 0;
    for (const seat of this.seats) if (seat.state !== "stopping") working++;
    return working;
  }

  /** Starts the workers that are missing. */
  hire(): void {
    if (this.isClosed || this.#failures >= (this.#wasEverReady ? MAX_FAILURES : 1)) return;
    for (let working = this.working; working < this.#options.processes; working++) {
      const seat = new Seat<T, L>();
      this.seats.add(seat);
      this.#commands.start(seat);
    }
  }

  /** There is work, for which a worker may be missing: one more try. */
  rehire(): void {
    if (this.seats.size >= this.#options.processes) return;
    const mayTry = this.working === 0 || this.#now() >= this.#restUntil;
    if (this.#failures >= MAX_FAILURES && mayTry) this.#failures = MAX_FAILURES - 1;
    this.hire();
  }

  /** A worker is there. */
  ready(seat: Seat<T, L>): void {
    seat.state = "ready";
    this.#wasEverReady = true;
  }

  /** A worker has done so many tasks. */
  did(seat: Seat<T, L>, count: number): void {
    if (seat.answers === 0) this.#failures = 0;
    seat.answers += count;
  }

  /** A worker is gone; it stays among the others until its tasks are settled. */
  lose(seat: Seat<T, L>): void {
    const isOwnFault = seat.state !== "stopping" && seat.sent === 0;
    seat.state = "gone";
    if (isOwnFault && ++this.#failures >= MAX_FAILURES) this.#restUntil = this.#now() + REST_MS;
  }

  /** Whether it makes no sense to start another worker, and there is none. */
  isHopeless(hasWork: boolean): boolean {
    if (this.working > 0) return false;
    return this.#wasEverReady ? this.#failures >= MAX_FAILURES && hasWork : this.#failures > 0;
  }

  /** Ends a worker that has done all it may do; another takes its place. */
  retire(seat: Seat<T, L>): void {
    this.stop(seat);
    this.hire();
  }

  stop(seat: Seat<T, L>): void {
    if (seat.state === "stopping") return;
    seat.state = "stopping";
    this.#commands.stop(seat);
  }

  /** Whether a worker is to be given no more tasks. */
  hasItsShare(seat: Seat<T, L>): boolean {
    const { maxTasksPerChild = Number.POSITIVE_INFINITY } = this.#options;
    return seat.isSpent || seat.sent - seat.returned >= maxTasksPerChild;
  }

  hasRoom(seat: Seat<T, L>, next: Waiting<T>): boolean {
    if (seat.state !== "ready" || this.hasItsShare(seat)) return false;
    const { head } = seat;
    if (head === undefined) return true;
    if (seat.isStalled || (head instanceof Task && head.state !== "sent")) return false;
    if (seat.count >= WINDOW || seat.bytes + next.size > AHEAD_BYTES) return false;
    // Where one of them is unknown, the sum is no number, and not below anything.
    return seat.ms + next.expected <= AHEAD_MS;
  }

  /** The worker with the fewest tasks, if it has room for another. */
  roomiest(next: Waiting<T>): Seat<T, L> | undefined {
    let best: Seat<T, L> | undefined;
    for (const seat of this.seats) {
      if (best !== undefined && seat.count >= best.count) continue;
      if (this.hasRoom(seat, next)) best = seat;
      if (best?.count === 0) break;
    }
    return best;
  }

  /**
   * The worker with the most work in its running task that could be shared. Of one that has long said nothing, nobody knows how
   * much it is.
   *
   * @param wake is told when to ask again
   */
  richest(wake: (at: number) => void): Seat<T, L> | undefined {
    const now = this.#now();
    let best: Seat<T, L> | undefined;
    let most = SHARE_MS;
    for (const seat of this.seats) {
      const { head: task } = seat;
      if (
        !(task instanceof Task) ||
        task.state !== "sent" ||
        task.isOnLast ||
        task.items - task.answered < 2 ||
        seat.isSharing
      )
        continue;
      const isSilent = now >= seat.since + SHARE_MS;
      if (!isSilent) wake(seat.since + SHARE_MS);
      const work = isSilent ? Number.POSITIVE_INFINITY : task.expected;
      if (!(work >= most)) continue;
      most = work;
      best = seat;
    }
    return best;
  }
}
