/**
 * The messages of a queue whose items are in the broker, and the first messages of every queue.
 *
 * The *owner process* created the queue. Its *broker* keeps the items as encoded bytes. Every other
 * process that has the queue is a *client*, with one channel to the owner process.
 *
 * ```text
 *   producer ── PUT item ─────────> broker ── ITEM ────> consumer
 *            <─ ACCEPTED (bounded) ─       <─ ACK ──────
 *                                          ── RECALL ──>
 * ```
 *
 * **Putting.** An unbounded queue accepts every item, so PUT has no reply. A put is done when the
 * system has its bytes. They reach the broker even if the producer is SIGKILLed then. A bounded
 * queue replies ACCEPTED as soon as it has space, which gives producers back-pressure. It replies
 * FULL to a PUT_NOW if it has none, and REFUSED after a shutdown. It replies WITHDRAWN to a WITHDRAW
 * that arrived before the item was accepted. Both ends of a channel count the PUTs and PUT_NOWs. A
 * reply carries the number of its put.
 *
 * **Getting** uses credit-based flow control. ACK carries the state of a consumer: how many more
 * items it has taken, whether it returns the others, its demand and its credit. *Demand* is the
 * number of waiting calls; *credit* also includes the items that it would prefetch. In the message,
 * both include all items that ever arrived on the channel. A later ACK therefore replaces an earlier
 * one, whatever is on its way.
 *
 * - Demand is served as soon as there are items. The consumer that has waited longest comes first.
 * - Credit beyond the demand is used only for a sole consumer, together with its demand or on its
 *   next ACK. Items sent on credit are *prefetched*. The credit follows from how fast the consumer
 *   has been (`prefetch-buffer.ts`).
 * - When another consumer wants an item, the prefetching one gets RECALL. It drops the items that it
 *   has not taken, and says so by an ACK. The broker then requeues these items and those on their
 *   way, and replies RETURNED. The consumer drops all items that arrive before RETURNED.
 * - Until that ACK arrives, no other consumer gets an item, so the order is kept. A consumer may
 *   compute and not answer. It keeps its items then, and others are served after RECALL_TIMEOUT_MS.
 * - An item that was sent is *in flight* until the consumer acknowledges it. It still belongs to
 *   the queue: it counts for `qsize()` and `maxSize`. If the channel ends first, the broker
 *   requeues the item at its old place.
 * - A `get()` that does not wait sends PROBE. PROBE_REPLY arrives after every item that the broker
 *   could send at that moment.
 *
 * An item is therefore *delivered* when the system has its ACK. The consumer sends the ACK as soon
 * as `get()` has the item, unless its last ACK is less than 0.2 ms old. In that case the next
 * `get()` after that time sends it, or the end of the event-loop turn, or `close()`.
 *
 * **Shutting down.** An item on its way must not be lost, nor arrive after the consumers have left.
 * A client of an unbounded queue therefore sends REGISTER_PRODUCER before its first PUT, and waits
 * for REGISTERED. To shut down, the broker sends SHUT_DOWN to the producers, which put nothing after
 * that and reply SHUTDOWN_ACK. When all have replied, the shutdown is complete. Waiting consumers get
 * END once no item is left.
 *
 * **The ring.** HELLO is the first message that a client gets. It has the address of the ring
 * (`ring/mpmc-ring.ts`) if the items are in shared memory. While they are, no message above is
 * used. The owner process closes the ring when a client sends any message except ADD_LARGE_AREA,
 * which asks for the large-payload area. A client that cannot use the ring, or has an item that
 * does not fit, sends CLOSE_RING. A client that finds the ring closed continues with the messages
 * above.
 *
 * ASK carries `[id, question, argument]`. ANSWER or FAILED replies to it.
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
 * The acknowledgement of a consumer: items taken since its last one; 1 if it returns all others;
 * the number of the last item that it waits for; the number of the last item that it has credit
 * for.
 */
export type Ack = [taken: number, returned: 0 | 1, demand: number, credit: number];
