/**
 * The protocol of pipes.
 *
 * The process that makes a pipe is its *owner process*. It keeps both *ends* and carries every
 * message from one end to the other. The *holders* of an end are the owner's own connection, and
 * one channel for each other process that was given the end.
 *
 * ```text
 *                     ┌──────── owner process ────────┐
 *   holder of A ──────┤ end A ⇄ end B                 ├────── holder of B
 *   holder of A ──────┤   └ receive queue └ receive   ├────── holder of B
 *                     │                     queue     │
 *                     └───────────────────────────────┘
 * ```
 *
 * **One holder.** The owner pushes each message to the only holder of an end at once.
 *
 * **Several holders.** The end is *shared*: its messages stay in the owner's receive queue until a
 * holder requests one (GET), so that each message goes to one holder. When a second holder
 * attaches, the owner sends SHARE to both. The first returns its unread messages (RETURN plus their
 * kind), and then sends RETURNED. The owner delivers nothing until then, which keeps the order. A
 * shared end stays shared, even if only one holder is left.
 *
 * **Handing over.** A holder that gives its end to another process returns its unread messages and
 * sends HAND_OVER with a *claim*, a name for the new holder. The new holder sends ATTACH with the
 * same claim. An unused claim counts as a holder. If the receiving process ends first, the sender of
 * the claim reports CANCEL_HAND_OVER, and the owner drops the claim after a grace period.
 *
 * **The end of a pipe.** When an end has lost its last holder, the holders of the other end get
 * BROKEN, and END after the last message. The owner's own connection does not count after it was
 * handed over, so a forgotten copy cannot keep a pipe open. It counts again once it is used or
 * handed over again; the holders of the other end then get REOPENED.
 *
 * A message is an encoded value or plain bytes, and keeps this kind on every path.
 */

/** Kinds of frames. The two kinds of messages are the first, because most frames are messages. */
export const VALUE = 0;
export const BYTES = 1;
/** Added to the kind of a message that is returned: `RETURN + VALUE` or `RETURN + BYTES`. */
export const RETURN = 4;
export const GET = 6;
export const SHARE = 7;
export const RETURNED = 8;
export const HAND_OVER = 9;
export const ATTACH = 10;
export const CANCEL_HAND_OVER = 11;
export const END = 12;
export const BROKEN = 13;
export const REOPENED = 14;

/** Body of a frame that consists of its kind only. */
export const NO_BYTES: Uint8Array = new Uint8Array(0);

/** Bytes in a receive queue above which senders have to wait. */
export const MAX_RECEIVE_QUEUE_BYTES: number = 1024 * 1024;
