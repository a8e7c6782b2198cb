/**
 * `getSync()` and `putSync()` on a ring. A blocked thread receives no messages, so these calls use
 * nothing but shared memory.
 */
import { CapabilityError } from "@multiproc/core";
import { areLoaded, checkTimeout, type Frame, whyNoSharedMemory } from "@multiproc/core/internal";
import { type BlockSyncOptions, isNonBlocking } from "../backend.ts";
import { QueueEmptyError, QueueFullError, QueueShutDownError } from "../errors.ts";
import type { MpmcRing } from "./mpmc-ring.ts";

/** One blocking call: its name for errors, its options, and the check of its queue. */
export interface BlockingCall {
  readonly call: string;
  readonly options: BlockSyncOptions;
  /**
   * Throws if the queue is closed or its owner process has ended.
   *
   * @param checkLiveness whether to ask the system if the owner process is alive, which is slow
   */
  assertUsable(checkLiveness: boolean): void;
}

/**
 * Takes the first item; blocks while the ring is empty.
 *
 * @throws {QueueEmptyError} if the ring is empty and the call does not wait any longer
 * @throws {CapabilityError} if the ring is closed, or the item needs a module that is not loaded;
 * the item stays in the ring
 */
export function getBlocking(ring: MpmcRing, { call, options, assertUsable }: BlockingCall): Frame {
  let frame: Frame | undefined;
  const requireLoaded = (found: Frame): void => {
    if (!areLoaded(found.modules)) throw modulesNotLoaded(call, found.modules);
  };
  const check = (checkLiveness: boolean): boolean => {
    assertUsable(checkLiveness);
    frame = ring.take(requireLoaded);
    if (frame !== undefined) return true;
    if (ring.isClosed) throw itemsNotInMemory(call);
    if (!ring.isShutDown) return false;
    // Every item that was put before the shutdown is in the ring by now.
    frame = ring.take(requireLoaded);
    if (frame === undefined && ring.isEmpty) throw new QueueShutDownError(call);
    return frame !== undefined;
  };
  checkTimeout(call, options.timeout);
  const isFound = check(false) || (!isNonBlocking(options) && ring.getters.waitSync(check, options.timeout));
  if (!isFound) throw new QueueEmptyError(call);
  return frame as Frame;
}

/**
 * Puts an item; blocks while the ring is full.
 *
 * @throws {QueueFullError} if the ring is full and the call does not wait any longer
 * @throws {CapabilityError} if the ring is closed, or the item does not fit into it
 */
export function putBlocking(
  ring: MpmcRing,
  frame: Frame,
  item: unknown,
  maxSize: number,
  { call, options, assertUsable }: BlockingCall,
): void {
  const check = (checkLiveness: boolean): boolean => {
    assertUsable(checkLiveness);
    const result = ring.put([frame]);
    if (result === "shut down") throw new QueueShutDownError(call);
    if (result === "closed") throw itemsNotInMemory(call);
    return result === "accepted";
  };
  checkTimeout(call, options.timeout);
  if (!ring.fits(frame)) {
    throw new CapabilityError(
      `${call} cannot put an item of ${frame.size} bytes, because it does not fit into shared memory: use await put()`,
    );
  }
  if (check(false)) return;
  if (isNonBlocking(options) || !ring.putters.waitSync(check, options.timeout))
    throw new QueueFullError(call, maxSize, item);
}

/** Creates the error of a call that would have to block while the broker has the items. */
export function itemsNotInMemory(call: string): CapabilityError {
  const reason = whyNoSharedMemory() ?? "the owner process of this queue keeps them, as backend() reports";
  return new CapabilityError(
    `${call} can block only while the items are in shared memory, and ${reason}: use await ${call.replace("Sync", "")}`,
  );
}

/** Creates the error of a call that cannot read the number of items without a message. */
export function sizeNotReadable(call: string, ownerPid: number, alternative: string): CapabilityError {
  const reason = whyNoSharedMemory() ?? `the owner of this queue, process ${ownerPid}, keeps them`;
  return new CapabilityError(
    `${call} can read the queue only while the items are in shared memory, and ${reason}: use ${alternative}`,
  );
}

function modulesNotLoaded(call: string, modules: readonly string[]): CapabilityError {
  return new CapabilityError(
    `${call} found an item that needs modules which are not loaded, and left it in the queue: import ${modules.join(" and ")} first, or use await get()`,
  );
}
