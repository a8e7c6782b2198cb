/**
 * Locks, semaphores, conditions, events and barriers for any number of processes.
 *
 * Each is made in one process and given to others as an argument, or inside any value that is sent; all of them work on the
 * same thing. `using held = await lock.acquire()` takes a lock and gives it back at the end of the block. A wait never blocks
 * the event loop, and takes a `timeout` and a `signal`; the methods that end in `Sync` block the thread instead.
 *
 * When the process that holds a lock dies, whoever waits for it gets it, and is told: `held.previousOwnerDied`. The units of a
 * semaphore come back, a barrier breaks, and those who wait for a condition are not forgotten.
 *
 * They live in shared memory where that is to be had, else the process that made them serves them to the others; `form` tells.
 *
 * Differences from Python: durations are milliseconds; `acquire()` gives a guard or null; a process that dies gives back what
 * it holds; anything can also be sent later, not only at a child's start.
 *
 * @module
 */
export { Barrier, type BarrierOptions } from "./barrier.ts";
export { Condition } from "./condition.ts";
export { BrokenBarrierError, DeadlockError, NotHeldError, OwnerDiedError, SyncClosedError } from "./errors.ts";
export { Event } from "./event.ts";
export { BaseLock, Lock, RLock } from "./lock.ts";
export { Guard } from "./ownership/lock-guard.ts";
export type { AcquireOptions, AcquireSyncOptions } from "./ownership/lock-ownership.ts";
export { type MaybePromise, Primitive } from "./primitive.ts";
export { BoundedSemaphore, Semaphore } from "./semaphore.ts";
