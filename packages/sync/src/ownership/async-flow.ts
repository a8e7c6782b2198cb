/**
 * Flows: who, within one process, holds a lock that may be taken again by its holder.
 *
 * A process runs many pieces of work that take turns at each `await`. A lock that is re-entrant must know whether a call comes
 * from the piece of work that holds it. The host's storage that follows calls and promises (`AsyncLocalStorage`) can carry a
 * mark, but the mark must be set inside of the flow, after the lock was had: set at the call, it would also reach whoever
 * called the flow without waiting for it. There are three moments in which code of the flow itself is known to run:
 *
 * - `using held = await lock.acquire()` asks the guard for its disposal, right after the wait;
 * - what runs right after the wait, up to its next `await`: a call on a lock in there is a call of the flow;
 * - `acquireSync()` returns into it.
 *
 * In each of them the mark is set, and from then on follows the flow into whatever it calls.
 */
import { type AsyncStorage, afterForkInChild, host } from "@multiproc/core/internal";

/** One piece of work, from when it took a lock until it gave it back; and the one that it is part of. */
export interface AsyncFlow {
  readonly parent: AsyncFlow | undefined;
  isEnded: boolean;
}

let storage: AsyncStorage | undefined;
/** The flow whose wait was just over, while its code runs. */
let resumedFlow: AsyncFlow | undefined;

afterForkInChild(() => {
  resumedFlow = undefined;
});

/** The flow of the code that runs now; those that are over do not count. */
export function currentFlow(): AsyncFlow | undefined {
  if (resumedFlow !== undefined) {
    enterFlow(resumedFlow);
    resumedFlow = undefined;
  }
  return nearestActive(storage?.getStore() as AsyncFlow | undefined);
}

/** A new flow inside of the current one. */
export function newFlow(): AsyncFlow {
  return { parent: currentFlow(), isEnded: false };
}

/** The code that runs now is that flow, or part of it. */
export function enterFlow(flow: AsyncFlow): void {
  storage ??= host.asyncLocalStorage();
  if (!isWithin(flow, storage.getStore() as AsyncFlow | undefined)) storage.enterWith(flow);
}

/** Ends a flow; the code that runs now is what it was before. */
export function endFlow(flow: AsyncFlow): void {
  flow.isEnded = true;
  if (resumedFlow === flow) resumedFlow = undefined;
  if (storage?.getStore() === flow) storage.enterWith(nearestActive(flow));
}

/** Whether a flow is that one, or part of it. */
export function isWithin(outer: AsyncFlow, flow: AsyncFlow | undefined): boolean {
  for (let ancestor = flow; ancestor !== undefined; ancestor = ancestor.parent) if (ancestor === outer) return true;
  return false;
}

/** Settles a wait; what runs right after it is known to be that flow. */
export function resumeInFlow(flow: AsyncFlow, settle: () => void): void {
  queueMicrotask(() => {
    // In the order in which they are queued: before the code that waited, that code, and after it.
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
