/**
 * Async flows: distinguish the concurrent work of a process, for reentrant locks.
 *
 * An *async flow* is the work between the acquisition and the release of a lock, with everything
 * that it calls. `AsyncLocalStorage` passes the flow on along calls and promises. `acquire()` cannot
 * store the flow, because the caller of the flow would inherit it if it does not await the flow.
 * The flow is stored at the moments when its own code certainly runs:
 *
 * - `using held = await lock.acquire()` reads the guard's disposal right after the wait.
 * - The code right after the wait, until its next `await`, calls a method of a lock.
 * - `acquireSync()` or `tryAcquire()` returns into the flow.
 */
import { type AsyncStorage, afterForkInChild, host } from "@multiproc/core/internal";

/** An async flow. Its parent is the flow in which it began. */
export interface AsyncFlow {
  readonly parent: AsyncFlow | undefined;
  isEnded: boolean;
}

let storage: AsyncStorage | undefined;
/** The flow whose code right after the wait runs at this moment. */
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

/** Makes the running code part of a flow, unless it is part of the flow already. */
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

/** Settles the wait of a flow, and sets `resumedFlow` while the code right after the wait runs. */
export function resumeInFlow(flow: AsyncFlow, settle: () => void): void {
  queueMicrotask(() => {
    // Microtasks run in the order of their queue: the first one below, then the code right after
    // the wait, which settle() queues, then the last one.
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
