/**
 * The protocol of queues.
 *
 * A queue has a *home*, the process that made it, which keeps its items as the bytes they were put as. Every other process
 * that holds the queue is a *guest* with one channel to it.
 *
 * ```text
 *   producer ── PUT item ─────────> home ── ITEM ───> consumer
 *            <─ ACCEPTED (bounded) ─     <─ REPORT ──
 *                                        ── RECALL ─>
 * ```
 *
 * **Putting.** An unbounded queue takes every item, so PUT has no answer: a put is over when the system has its bytes, and
 * what the system has reaches the home even if the producer is SIGKILLed. A bounded queue answers ACCEPTED once there is
 * room, FULL to a PUT_NOW without room, WITHDRAWN to a WITHDRAW that came in time, REFUSED after a shutdown. PUTs are counted
 * on both sides of a channel; the answers name the count.
 *
 * **Getting.** A REPORT tells all that a consumer has to say at that moment: how many more of the items that it got it has
 * taken, whether it gives the others back, how many it wants, because so many wait for one, and for how many more it has
 * room. The last two are counted from the first item ever sent on the channel, so a later report replaces an earlier one.
 *
 * - What is wanted is sent as soon as it is there, to those who have waited longest.
 * - What there is room for is sent together with what is wanted, or right upon a report, and only to one that is the only
 *   consumer at that time: it then *holds* items. How much room it has follows from how fast it has been (`intake.ts`).
 * - When somebody else wants an item, the holder is sent RECALL and gives back at once what it has not taken; RETURNED tells
 *   it that whatever was on its way is back as well. Nobody else gets anything until then, so that items stay in order. A
 *   holder that does not answer, because it computes, is passed over after a while: then it keeps what it has.
 * - An item that was sent belongs to the home, counts for `qsize()` and takes up room, until the consumer reports that it
 *   was taken. When the channel ends before that, the item goes back to its place in the queue.
 * - PROBE asks whether there is an item at this moment; PROBED answers when all that could be sent has been sent.
 *
 * So an item is *delivered* when the report that it was taken has been handed to the system. The consumer does that when
 * `get()` has it: at once, unless its last report is less than a fifth of a millisecond old; then the next `get()` after
 * that time does it, or the end of the turn of its event loop, or `close()`.
 *
 * **Shutting down.** Puts that are on their way must neither be lost nor come when everybody has left. So a guest of an
 * unbounded queue says PRODUCE before its first put, is answered PRODUCING, and hears of a shutdown by SHUT_DOWN; it puts nothing
 * after that and answers HEARD. When all of them have, the shutdown takes effect: consumers hear OVER when nothing is left.
 *
 * **The ring.** WELCOME is the first that a guest hears: where the ring is (`ring.ts`), if the items are in one. As long as they
 * are, nothing of the above is used. Whatever a guest sends has the home close the ring: who cannot use it, or finds that
 * something has no place in it, says CLOSE_RING, and whoever finds it closed puts and gets as told above. Only ENLARGE leaves
 * it open, and has the home make a place in it for large items.
 *
 * ASK carries `[number, question, argument]` and is answered by ANSWER or FAILED.
 */

export const PUT = 1;
export const PUT_NOW = 2;
export const WITHDRAW = 3;
export const ACCEPTED = 4;
export const FULL = 5;
export const WITHDRAWN = 6;
export const REFUSED = 7;
export const REGISTER_PRODUCER = 8;
export const REGISTERED = 9;
export const SHUT_DOWN = 10;
export const SHUTDOWN_ACK = 11;
export const ACK = 12;
export const ITEM = 13;
export const RECALL = 14;
export const RETURNED = 15;
export const PROBE = 16;
export const PROBE_REPLY = 17;
export const END = 18;
export const ASK = 19;
export const ANSWER = 20;
export const FAILED = 21;
export const HELLO = 22;
export const CLOSE_RING = 23;
export const ADD_LARGE_AREA = 24;

/**
 * What a consumer reports: how many items it has taken since the last report; 1 if it gives all others back; the number of
 * the last item that it wants; of the last that it has room for.
 */
export type Ack = [taken: number, returned: 0 | 1, demand: number, credit: number];
