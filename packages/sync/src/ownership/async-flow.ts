/**
 * Async flows: which piece of work in a process holds a reentrant lock.
 *
 * Many pieces of work of one process take turns at each `await`. An *async flow* is one of them,
 * from the moment in which it acquired a lock until it released the lock. A reentrant lock must
 * know whether a call comes from the flow that holds it.
 *
 * `AsyncLocalStorage` carries a mark along calls and promises. The flow must set the mark inside
 * itself, after it acquired the lock. A mark set by the call of `acquire()` would also reach the
 * code that called the flow without waiting for it. There are three moments in which code of the
 * flow itself certainly runs:
 *
 * - `using held = await lock.acquire()` reads the guard's disposal, right after the wait;
 * - the code right after the wait, until its next `await`: a call on a lock in it comes from the
 *   flow;
 * - `acquireSync()` returns into the flow.
 *
 * Each of them sets the mark, which then follows the flow into everything that it calls.
 */
import { type AsyncStorage, afterForkInChild, host } from "@multiproc/core/internal";

/** A flow, and the flow that it is part of. */
export interface AsyncFlow {
  readonly parent: AsyncFlow | undefined;
  isEnded: boolean;
}

let storage: AsyncStorage | undefined;
/** The flow whose wait has just ended, while the code right after the wait runs. */
let resumedFlow: AsyncFlow | undefined;

afterForkInChild(() => {
  resumedFlow = undefined;
});

/** Returns the innermost active flow of the running code. */
export function currentFlow(): AsyncFlow | undefined {
  if (resumedFlow !== undefined) {
    enterFlow(resumedFlow);
    resumedFlow = undefined;
  }
  return nearestActive(storage?.getStore() as AsyncFlow | undefined);
}

/** Creates a flow inside the current one. */
export function newFlow(): AsyncFlow {
  return { parent: currentFlow(), isEnded: false };
}

/** Makes the running code part of a flow, unless it already is. */
export function enterFlow(flow: AsyncFlow): void {
  storage ??= host.asyncLocalStorage();
  if (!isWithin(flow, storage.getStore() as AsyncFlow | undefined)) storage.enterWith(flow);
}

/** Ends a flow. The running code is part of the outer flow again. */
export function endFlow(flow: AsyncFlow): void {
  flow.isEnded = true;
  if (resumedFlow === flow) resumedFlow = undefined;
  if (storage?.getStore() === flow) storage.enterWith(nearestActive(flow));
}

/** Whether `flow` is `outer`, or inside it. */
export function isWithin(outer: AsyncFlow, flow: AsyncFlow | undefined): boolean {
  for (let ancestor = flow; ancestor !== undefined; ancestor = ancestor.parent) if (ancestor === outer) return true;
  return false;
}

/** Settles a wait, so that the code right after the wait counts as part of `flow`. */
export function resumeInFlow(flow: AsyncFlow, settle: () => void): void {
  queueMicrotask(() => {
    // These run in order: the first before the code right after the wait, which settle() queues,
    // and the last after it.
    queueMicrotask(() => {
      resumedFlow = flow;
    });
    settle();
    queueMicrotask(() => {
      if (resumedFlow === flow) resumedFlow = undefined;
    });
  });
}

function nearestActive(flow: AsyncFlow | undefined): AsyncFlow | undefined {
  let ancestor = flow;
  while (ancestor?.isEnded === true) ancestor = ancestor.parent;
  return ancestor;
}
