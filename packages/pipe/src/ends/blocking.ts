/** What calls that block their thread do: nothing else of the process runs meanwhile, so they drive the channel by themselves. */
import { CapabilityError, TimeoutError } from "@multiproc/core";
import { areLoaded, type Frame } from "@multiproc/core/internal";
import type { PipeEnd } from "./pipe-end.ts";

/**
 * The next message; blocks while there is none.
 *
 * @returns nothing if there is none, and nobody is left who could send one
 * @throws {TimeoutError} when the time ran out
 * @throws {CapabilityError} where nothing could be heard while the thread is blocked; or the message needs a module that is not
 * loaded: it stays
 */
export function receiveBlocking(end: PipeEnd, call: string, timeout: number): Frame | undefined {
  const { receiveQueue } = end;
  const deadline = performance.now() + timeout;
  while (!receiveQueue.isReady) {
    const channel = end.blockingChannel(call, deadline);
    // To get that far may have brought something.
    if (!receiveQueue.isReady && channel?.waitSync(deadline) !== true) throw new TimeoutError(call, timeout);
  }
  const frame = receiveQueue.take();
  if (frame === undefined || areLoaded(frame.modules)) return frame;
  receiveQueue.unshift([frame]);
  throw new CapabilityError(
    `${call} found a message that needs modules which are not loaded, and left it there: import ${frame.modules.join(" and ")} before, or use await recv()`,
  );
}

/**
 * Sends a value, and blocks until it has left.
 *
 * @throws {BrokenPipeError} if nobody holds the other end any more
 * @throws {CapabilityError} where nothing can leave while the thread is blocked; nothing was sent then
 */
export function sendBlocking(end: PipeEnd, call: string, value: unknown): void {
  const channel = end.blockingChannel(call, Number.POSITIVE_INFINITY);
  if (end.brokenError !== undefined) throw end.brokenError; // that the other side is gone was learned just now
  end.send(value);
  channel?.flushSync();
}

/** The thread cannot wait for what only its event loop could bring. */
export function cannotBlock(call: string, reason: string): CapabilityError {
  return new CapabilityError(`${call} cannot block here: ${reason}. Use await connection.${call.replace("Sync", "")}`);
}
