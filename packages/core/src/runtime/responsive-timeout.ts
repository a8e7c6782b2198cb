/** A timeout that counts only time in which this process was responsive. */
import { host } from "../host/mod.ts";

/**
 * Steps of a timeout. A period in which this process was blocked or stopped counts as at most one
 * step.
 */
const STEP_COUNT = 8;

/**
 * Calls `onTimeout` when the peer has had `ms` milliseconds to answer, and this process could have
 * received the answer.
 *
 * A plain timer is wrong here. If this thread computes for a while, or the process is stopped
 * (SIGSTOP), the event loop runs an expired timer before it reads an answer that has arrived.
 *
 * @returns a function that cancels the timeout
 */
export function responsiveTimeout(onTimeout: () => void, ms: number): () => void {
  let stepsLeft = STEP_COUNT;
  let cancel = (): void => {};
  const nextStep = (): void => {
    if (stepsLeft-- === 0) return onTimeout();
    cancel = host.timer(nextStep, ms / STEP_COUNT, false);
  };
  nextStep();
  return () => cancel();
}
