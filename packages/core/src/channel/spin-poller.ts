/**
 * Busy polling: spins on all active ring streams of this thread for a moment before they sleep.
 *
 * Waking a sleeping event loop usually takes longer than waiting for the next message. So one
 * poller per thread polls each active stream in every turn of the event loop. If nothing arrives
 * for 0.1 ms, the streams *park*: they sleep until the peer rings the doorbell. The spinning is
 * adaptive (`adaptive-spin.ts`): while it does not pay off, streams park at once, and only an
 * occasional wait spins. So an idle stream uses no CPU, and a busy machine loses no core to the
 * spinning.
 */
import { host } from "../host/mod.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";
import { AdaptiveSpin } from "../shm/adaptive-spin.ts";

/** A stream that can be polled. */
export interface Pollable {
  /** Reads and writes what is possible at this moment; returns whether there was anything. */
  poll(): boolean;
  /**
   * Goes to sleep until the doorbell rings; returns false if there is something to do after all.
   */
  park(): boolean;
  /** Whether a message is incomplete, so that more is certain to come while the peer is alive. */
  readonly isMidMessage: boolean;
}

/** Time to spin before the streams park. */
const SPIN_MS = 0.1;
/**
 * Time to spin inside a large message. The peer has to allocate memory for it, which takes longer
 * than the copy.
 */
const SPIN_MID_MESSAGE_MS = 0.5;
/** Failed spins in a row after which streams usually park at once. */
const MAX_FAILED_SPINS = 8;

const spinning = new Set<Pollable>();
let isPolling = false;
let spinUntil = 0;
const spin = new AdaptiveSpin(MAX_FAILED_SPINS);

afterForkInChild(() => {
  spinning.clear();
  isPolling = false;
});

/** Polls the stream until nothing has arrived for a moment, and then parks it. */
export function startSpinning(pollable: Pollable): void {
  const shouldSpin = spin.shouldSpin;
  if (!isPolling && !shouldSpin) {
    spin.record(false);
    if (pollable.park()) return;
  }
  pollNextTurn(pollable);
  if (shouldSpin) spinUntil = performance.now() + spinDuration();
}

/**
 * Polls the stream in the next turn of the event loop. It does not park before that, so the peer
 * does not ring the doorbell of a thread that is blocked.
 */
export function pollNextTurn(pollable: Pollable): void {
  spinning.add(pollable);
  if (isPolling) return;
  isPolling = true;
  host.setImmediate(pollAll);
}

/** Stops polling the stream. */
export function stopPolling(pollable: Pollable): void {
  spinning.delete(pollable);
}

function pollAll(): void {
  let found = false;
  for (const pollable of spinning) if (pollable.poll()) found = true;
  const now = performance.now();
  if (found) {
    // A late message counts as a failed spin: this thread was preempted instead of spinning.
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
