/**
 * The layout of a wait queue in shared memory, in words of 32 bits.
 *
 * ```text
 *   word  0 signal          the futex of `waitSync()`; a wake-up adds 1 if threads may be asleep
 *         1 announced sync  a thread that is about to sleep adds 1
 *         2 served sync     `announced sync` at the last wake-up that left no thread asleep. If both are equal, a
 *                           wake-up has nothing to do
 *         3 announced slots, 4 served slots: the same for threads that wait in their event loop
 *         5 turn            the highest turn so far; the waiting thread with the lowest turn is woken first
 *         8 slots of 8 words each: thread id, doorbell fd, doorbell inode, turn (0 while the slot is being
 *           filled), rung (1 from a ring until the thread checks its conditions)
 * ```
 */

export const SIGNAL = 0;
export const ANNOUNCED_SYNC = 1;
export const SERVED_SYNC = 2;
export const ANNOUNCED_SLOTS = 3;
export const SERVED_SLOTS = 4;
export const TURN = 5;
export const HEADER_WORDS = 8;
export const SLOT_WORDS = 8;
export const SLOT_FD = 1;
export const SLOT_INODE = 2;
export const SLOT_TURN = 3;
export const SLOT_RUNG = 4;
