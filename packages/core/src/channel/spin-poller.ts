/**
 * Who looks again and again for a moment, since being woken takes longer than what is awaited mostly does.
 *
 * One lookout serves all streams of a thread: between the turns of the event loop it has each of them look. When nothing
 * has come for a moment, they go to sleep. Where that moment is mostly in vain they go to sleep at once, and it is tried
 * again every so often: so an idle stream costs nothing, and a processor that others need is not kept from them.
 */

import { host } from "../host/mod.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { AdaptiveSpin } from "../shm/adaptive-spin.ts";

/** Something that can look. */
export interface Pollable {
  /** Does what can be done at this moment; whether anything was. */
  poll(): boolean;
  /** Goes to sleep; false if there is something to do after all. */
  park(): boolean;
  /** Whether it is in the middle of something, so that more is sure to come if the other side is there at all. */
  readonly isMidMessage: boolean;
}

/** Milliseconds. */
const SPIN_MS = 0.1;
/** In the middle of a large message: the other side must get memory for it from the system, which takes longer than to copy. */
const SPIN_MID_MESSAGE_MS = 0.5;

const spinning = new Set<Pollable>();
let isPolling = false;
let spinUntil = 0;
const spin = new AdaptiveSpin(8);

afterForkInChild(() => {
  spinning.clear();
  isPolling = false;
});

/** Has it look, and sleep when nothing has come for a moment. */
export function startSpinning(pollable: Pollable): void {
  const shouldSpin = spin.shouldSpin;
  if (!isPolling && !shouldSpin) {
    spin.record(false);
    if (pollable.park()) return;
  }
  pollNextTurn(pollable);
  if (shouldSpin) spinUntil = performance.now() + spinDuration();
}

/** Has it look in the next turn of the loop, and sleep no sooner: while its thread is blocked nobody need wake the loop for it. */
export function pollNextTurn(pollable: Pollable): void {
  spinning.add(pollable);
  if (isPolling) return;
  isPolling = true;
  host.setImmediate(pollAll);
}

/** It looks no more. */
export function stopPolling(pollable: Pollable): void {
  spinning.delete(pollable);
}

function pollAll(): void {
  let found = false;
  for (const pollable of spinning) if (pollable.poll()) found = true;
  const now = performance.now();
  if (found) {
    // What came too late came because this one was not looking, but waiting for its turn on a processor.
    spin.record(now < spinUntil);
    spinUntil = spin.shouldSpin ? now + spinDuration() : 0;
  } else if (now >= spinUntil) {
    spin.record(false);
    for (const pollable of [...spinning]) if (pollable.park()) spinning.delete(pollable);
  }
  isPolling = spinning.size > 0;
  if (isPolling) host.setImmediate(pollAll);
}

function spinDuration(): number {
  for (const pollable of spinning) if (pollable.isMidMessage) return SPIN_MID_MESSAGE_MS;
  return SPIN_MS;
}
