/**
 * The protocol of queues.
 *
 * A queue has a *home*, the process that made it, which keeps its items as the bytes they were put as. Every other process
 * that holds the queue has one channel to it.
 *
 * ```text
 *   producer ── PUT item ──────────> home ── ITEM ──> consumer
 *            <─ ACCEPTED (bounded) ─      <─ GET ────
 *                                         <─ TAKEN ──   or, when nobody waits for it any more: <─ REFUSED ──
 * ```
 *
 * - An unbounded queue takes every item, so PUT has no answer: a put is over when the system has its bytes, and what the
 *   system has reaches the home even if the producer is SIGKILLed. A bounded queue answers ACCEPTED once there is room, FULL
 *   to a PUT_NOW without room, or WITHDRAWN to a WITHDRAW_PUT that came in time. PUTs are counted on both sides of a
 *   channel; the answers name the count.
 * - A GET names a number; ITEMs answer GETs in order. An item that was sent belongs to the home until the consumer says
 *   TAKEN, which leaves together with, or before, anything that the program does with the item. If the channel ends before
 *   that, or the consumer says REFUSED because its wait had ended, the item goes to the front again. So an item is
 *   *delivered* when TAKEN has reached the system; a consumer that dies before has lost nothing, one that dies after has
 *   had it.
 * - ASK carries `[number, question, argument]` and is answered by ANSWER or FAILED.
 */

export const PUT = 1;
export const PUT_NOW = 2;
export const WITHDRAW_PUT = 3;
export const ACCEPTED = 4;
export const FULL = 5;
export const WITHDRAWN = 6;
export const GET = 7;
export const GET_NOW = 8;
export const WITHDRAW_GET = 9;
export const ITEM = 10;
export const EMPTY = 11;
export const TAKEN = 12;
export const REFUSED = 13;
export const SHUT_DOWN = 14;
export const ASK = 15;
export const ANSWER = 16;
export const FAILED = 17;

/** What can be asked. */
export type Question = "size" | "full" | "shutdown" | "taskDone" | "join";
