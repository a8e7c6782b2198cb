/**
 * Receiving and sending while the thread is blocked (`recvSync()`, `sendSync()`).
 *
 * The event loop does not run during these calls, so they read and write the channel themselves.
 * Only a channel in shared memory allows this.
 */
import { CapabilityError, TimeoutError } from "@multiproc/core";
import { areLoaded, checkOptions, checkTimeout, type Frame, type WaitOptions } from "@multiproc/core/internal";
import type { PipeEnd } from "./pipe-end.ts";
import { decodeFrame, endOfPipe } from "./receive.ts";

/**
 * Blocks until a message has arrived, and returns its value.
 *
 * @throws {EOFError} at the end of the pipe
 * @throws {TimeoutError} if no message arrives within the timeout
 * @throws {CapabilityError} where a blocked thread cannot receive, or if the message needs a module
 * that is not loaded; that message stays
 */
export function receiveBlocking(end: PipeEnd, options: Pick<WaitOptions, "timeout">): unknown {
  const call = "recvSync()";
  checkOptions(call, options, ["timeout"]);
  const { timeout } = options;
  checkTimeout(call, timeout);
  const frame = takeBlocking(end, call, timeout ?? Number.POSITIVE_INFINITY);
  if (frame === undefined) throw endOfPipe(end, call);
  return decodeFrame(end, frame);
}

function takeBlocking(end: PipeEnd, call: string, timeout: number): Frame | undefined {
  const { receiveQueue } = end;
  const deadline = performance.now() + timeout;
  while (!receiveQueue.isReady) {
    const channel = end.blockingChannel(call, deadline);
    // Opening the channel may have delivered a message or the end.
    if (!receiveQueue.isReady && channel?.waitSync(deadline) !== true) throw new TimeoutError(call, timeout);
  }
  const frame = receiveQueue.take();
  if (frame === undefined || areLoaded(frame.modules)) return frame;
  receiveQueue.unshift([frame]);
  throw new CapabilityError(
    `${call} cannot load the modules that the next message needs, and left the message there: import ${frame.modules.join(" and ")} first, or use await recv()`,
  );
}

/**
 * Sends a value and blocks until it has left this process.
 *
 * @throws {BrokenPipeError} if the other end has no holder
 * @throws {CapabilityError} where a blocked thread cannot send; nothing was sent
 */
export function sendBlocking(end: PipeEnd, value: unknown): void {
  const channel = end.blockingChannel("sendSync()", Number.POSITIVE_INFINITY);
  if (end.brokenError !== undefined) throw end.brokenError; // opening the channel may have reported it
  end.send(value);
  channel?.flushSync();
  if (end.brokenError !== undefined) throw end.brokenError;
}

/** Returns the error of a blocking call that needs the event loop, which does not run during the call. */
export function cannotBlock(call: string, reason: string): CapabilityError {
  return new CapabilityError(`${call} cannot block here: ${reason}. Use await connection.${call.replace("Sync", "")}`);
}
