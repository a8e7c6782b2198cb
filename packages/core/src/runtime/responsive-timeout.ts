/** Waiting for another process no longer than is decent, without blaming it for this one's own absence. */
import { host } from "../host/mod.ts";

/** In how many steps a span is waited for: of a time in which this process heard nothing, only one step counts. */
const STEP_COUNT = 8;

/**
 * Runs a function when the other side has had its time, of which this process could have heard it.
 *
 * A plain timer is wrong for that: a thread that computes, or a process that is stopped, hears nothing, and its loop serves a timer that
 * has run out before it reads what has been there for long.
 *
 * @param span in milliseconds
 * @returns what ends the wait
 */
export function responsiveTimeout(run: () => void, ms: number): () => void {
  let stepsLeft = STEP_COUNT;
  let cancel = (): void => {};
  const step = (): void => {
    if (stepsLeft-- === 0) return run();
    cancel = host.timer(step, ms / STEP_COUNT, false);
  };
  step();
  return () => cancel();
}
