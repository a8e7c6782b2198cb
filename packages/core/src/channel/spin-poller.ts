/**
 * Who looks again and again for a moment, since being woken takes longer than what is awaited mostly does.
 *
 * One lookout serves all streams of a thread: between the turns of the event loop it has each of them look. When nothing
 * has come for a moment, they go to sleep. Where that moment is mostly in vain they go to sleep at once, and it is tried
 * again every so often: so an idle stream costs nothing, and a processor that others need is not kept from them.
 */

import { host } from "../host/mod.ts";
import { afterFork } from "../runtime/at-fork.ts";
import { Odds } from "../shm/adaptive-spin.ts";

/** Something that can look. */
export interface Looker {
  /** Does what can be done at this moment; whether anything was. */
  look(): boolean;
  /** Goes to sleep; false if there is something to do after all. */
  sleep(): boolean;
  /** Whether it is in the middle of something, so that more is sure to come if the other side is there at all. */
  readonly isAmid: boolean;
}

/** Milliseconds. */
const PATIENCE = 0.1;
/** In the middle of a large message: the other side must get memory for it from the system, which takes longer than to copy. */
const PATIENCE_AMID = 0.5;

const awake = new Set<Looker>();
let isLooking = false;
let end = 0;
const odds = new Odds(8);

afterFork(() => {
  awake.clear();
  isLooking = false;
});

/** Has it look, and sleep when nothing has come for a moment. */
export function lookOut(looker: Looker): void {
  const isWorthIt = odds.areGood;
  if (!isLooking && !isWorthIt) {
    odds.note(false);
    if (looker.sleep()) return;
  }
  lookOutLater(looker);
  if (isWorthIt) end = performance.now() + timeToLook();
}

/** Has it look in the next turn of the loop, and sleep no sooner: while its thread is blocked nobody need wake the loop for it. */
export function lookOutLater(looker: Looker): void {
  awake.add(looker);
  if (isLooking) return;
  isLooking = true;
  host.soon(turn);
}

/** It looks no more. */
export function rest(looker: Looker): void {
  awake.delete(looker);
}

function turn(): void {
  let found = false;
  for (const looker of awake) if (looker.look()) found = true;
  const now = performance.now();
  if (found) {
    // What came too late came because this one was not looking, but waiting for its turn on a processor.
    odds.note(now < end);
    end = odds.areGood ? now + timeToLook() : 0;
  } else if (now >= end) {
    odds.note(false);
    for (const looker of [...awake]) if (looker.sleep()) awake.delete(looker);
  }
  isLooking = awake.size > 0;
  if (isLooking) host.soon(turn);
}

function timeToLook(): number {
  for (const looker of awake) if (looker.isAmid) return PATIENCE_AMID;
  return PATIENCE;
}
