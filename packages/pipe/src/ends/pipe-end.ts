import type { EndpointAddress, Frame, SyncChannel } from "@multiproc/core/internal";
import type { ReceiveQueue } from "./receive-queue.ts";

/** What a side of a pipe is known by in other processes. */
export interface PipeEndAddress {
  readonly endpoint: EndpointAddress;
  /** The number under which a new holder is expected. */
  readonly claim: string;
}

/** How a connection reaches its side of the pipe: in this process, or in another. */
export interface PipeEnd {
  readonly receiveQueue: ReceiveQueue;
  /** Why nothing can be sent any more: nobody holds the other side. */
  readonly brokenError: Error | undefined;
  /** Whether so much is on its way that a sender should wait. */
  readonly full: boolean;
  drained(): Promise<void>;
  /**
   * Sends a value; whether there is room for more.
   *
   * @param gathers whether more follows, behind which {@link PipeEnd.flush} is called: it may wait for that
   */
  send(value: unknown, corked?: boolean): boolean;
  flush(): void;
  sendBytes(bytes: Uint8Array): void;
  decode(frame: Frame): unknown;
  /** The connection is used: it holds its side, also after it was handed on. */
  markUsed(): void;
  /** Makes an address for a new holder; `commit` hands the side on. */
  prepareHandOver(): { data: PipeEndAddress; commit: (scope: { onEnd(run: () => void): void } | undefined) => void };
  /**
   * What blocks the thread until something changes for this side.
   *
   * @param until how long it may take to get that, on the clock of `performance`
   * @returns nothing if the time is over
   * @throws {CapabilityError} where nothing could change while the thread is blocked
   */
  blockingChannel(call: string, deadline: number): SyncChannel | undefined;
  /** What another process dials to reach this side. */
  endpoint(): EndpointAddress;
  close(): void;
}
