/** What calls that block their thread do: they work on the ring by themselves, since no message can be heard meanwhile. */
import { CapabilityError } from "@multiproc/core";
import { areLoaded, checkTimeout, type Frame, type MemoryAddress, missingMemory } from "@multiproc/core/internal";
import { type BlockOptions, isNow } from "../backend.ts";
import { QueueEmptyError, QueueFullError, QueueShutDownError } from "../errors.ts";
import type { Ring } from "./mpmc-ring.ts";

/** How a call that blocks its thread waits; no signal can end it. */
export type BlockSyncOptions = Omit<BlockOptions, "signal">;

/** Where a ring is, for a process that cannot wait to be told; plain data. */
export interface RingPlace {
  readonly memory: MemoryAddress;
  /** The thread that keeps the queue; see `life.ts` of core. */
  readonly home: number;
}

/** What a blocking call needs to know. */
export interface SyncCall {
  readonly name: string;
  readonly options: BlockSyncOptions;
  /** Throws when the queue can be used no longer; `isSlow` when there is time to ask the system. */
  assertUsable(isSlow: boolean): void;
}

/**
 * Takes the first item; blocks while there is none.
 *
 * @throws {QueueEmptyError} if there is none and the call was not to wait any longer
 * @throws {CapabilityError} if the items are elsewhere, or the first needs a module that is not loaded; it stays in the queue
 */
export function takeSync(ring: Ring, { name, options, assertUsable }: SyncCall): Frame {
  let frame: Frame | undefined;
  const isWanted = (found: Frame): void => {
    if (!areLoaded(found.modules)) throw notLoaded(name, found.modules);
  };
  const check = (isSlow: boolean): boolean => {
    assertUsable(isSlow);
    frame = ring.take(isWanted);
    if (frame !== undefined) return true;
    if (ring.isClosed) throw elsewhere(name);
    if (!ring.isShutDown) return false;
    // Whatever was put before the shutdown is there by now.
    frame = ring.take(isWanted);
    if (frame === undefined && ring.isEmpty) throw new QueueShutDownError(name);
    return frame !== undefined;
  };
  checkTimeout(name, options.timeout);
  const isFound = check(false) || (!isNow(options) && ring.getters.waitSync(check, options.timeout));
  if (!isFound) throw new QueueEmptyError(name);
  return frame as Frame;
}

/**
 * Puts an item that fits; blocks while there is no room.
 *
 * @throws {QueueFullError} if there is none and the call was not to wait any longer
 * @throws {CapabilityError} if the items are elsewhere
 */
export function putSync(
  ring: Ring,
  frame: Frame,
  item: unknown,
  maxSize: number,
  { name, options, assertUsable }: SyncCall,
): void {
  const check = (isSlow: boolean): boolean => {
    assertUsable(isSlow);
    const result = ring.put([frame]);
    if (result === "shut down") throw new QueueShutDownError(name);
    if (result === "closed") throw elsewhere(name);
    return result === "accepted";
  };
  checkTimeout(name, options.timeout);
  if (!ring.fits(frame)) {
    throw new CapabilityError(
      `${name} cannot put an item of ${frame.size} bytes: that is more than is kept in memory, use await put()`,
    );
  }
  if (check(false)) return;
  if (isNow(options) || !ring.putters.waitSync(check, options.timeout)) throw new QueueFullError(name, maxSize, item);
}

/** The items are with the home process, which could not be heard. */
export function elsewhere(name: string): CapabilityError {
  const why = missingMemory() ?? "they are with the queue's home process, which form() tells";
  return new CapabilityError(
    `${name} can block only while the items are in shared memory, and ${why}: use await ${name.replace("Sync", "")}`,
  );
}

function notLoaded(name: string, modules: readonly string[]): CapabilityError {
  return new CapabilityError(
    `${name} found an item that needs modules which are not loaded, and left it in the queue: import ${modules.join(" and ")} before, or use await get()`,
  );
}
