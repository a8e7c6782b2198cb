/**
 * Locks, semaphores, conditions, events and barriers for any number of processes.
 *
 * One process creates a primitive. Other processes get it as an argument, or inside any value that
 * is sent, and all of them work on the same one. `using held = await lock.acquire()` releases the
 * lock at the end of the block. A wait never blocks the event loop, and takes a `timeout` and a
 * `signal`. The methods that end in `Sync` block the thread instead.
 *
 * If the process that holds a lock dies, the next waiter gets the lock, with
 * `held.previousOwnerDied` set. The semaphore units of a dead process become available, the
 * barrier at which it waited breaks, and its condition notifications go to other waiters.
 *
 * A primitive lives in shared memory if that is available. Otherwise its owner process serves it
 * over a channel. The property `backend` says which.
 *
 * Differences from Python: durations are in milliseconds; `acquire()` resolves to a guard or null;
 * a process that dies releases what it holds; a primitive can be sent at any time, not only at a
 * child's start.
 *
 * @module
 */

export type { BarrierState } from "./backends/barrier-backend.ts";
export type { EventState } from "./backends/event-backend.ts";
export type { LockState } from "./backends/lock-backend.ts";
export type { SemaphoreState } from "./backends/semaphore-backend.ts";
export { Barrier, type BarrierOptions } from "./barrier.ts";
export { Condition } from "./condition.ts";
export { BrokenBarrierError, DeadlockError, NotHeldError, OwnerDiedError, SyncClosedError } from "./errors.ts";
export { Event } from "./event.ts";
export { Lock, RLock } from "./lock.ts";
export { Guard } from "./ownership/lock-guard.ts";
export type { AcquireOptions, AcquireSyncOptions } from "./ownership/lock-ownership.ts";
export { BoundedSemaphore, Semaphore } from "./semaphore.ts";
