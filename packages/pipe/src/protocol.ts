/**
 * The protocol of pipes.
 *
 * A pipe has a *home*, the process that made it, and two *sides*. Each side has *holders*: the home's own connection, and
 * one channel for each other process that was handed the side. What a holder of one side sends, the home delivers to the
 * other side.
 *
 * ```text
 *                     ┌────────────── home ──────────────┐
 *   holder of A ──────┤ side A ⇄ side B                  ├────── holder of B
 *   holder of A ──────┤    └ inbox    └ inbox            ├────── holder of B
 *                     └──────────────────────────────────┘
 * ```
 *
 * A side with one holder in another process has its messages pushed there. A side with several holders is *shared*:
 * its messages stay at home until a holder asks for one (GET), so each goes to one holder that wants it. When a second
 * holder comes, the first is told (SHARE), gives back what it has not used (RETURN …), and says so (RETURNED).
 *
 * A holder that hands the side on gives back its unread messages and says HAND with the ticket's number; the new holder
 * says ATTACH with the same number. A ticket counts as a holder until then, or until it is VOID because the process that it
 * was sent to is gone. When a side has no holders, the other side's holders are told END once their messages are read, and
 * BROKEN. The home's own connection does not count once it has handed its side on: nothing is to hang because somebody forgot
 * to close a copy. It counts again when it is used, or handed on again; then the others are told REVIVED.
 *
 * Messages are of two kinds, encoded values and plain bytes, and keep their kind on every way.
 */

/** The kinds of frames. A message that is pushed has one of the first two: as it stands, since most frames are that. */
export const VALUE = 0;
export const BYTES = 1;
/** A message that is given back: a base to which its kind is added. */
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

/** An inbox that holds more bytes than this asks its senders to wait. */
export const MAX_RECEIVE_QUEUE_BYTES: number = 1024 * 1024;
