/** The interface of a pipe end for its connection: a `LocalEnd` in the owner process, a `RemoteEnd` elsewhere. */
import type { DeliveryScope, EndpointAddress, Frame, SyncChannel } from "@multiproc/core/internal";
import type { ReceiveQueue } from "./receive-queue.ts";

/** The address of a pipe end for one new holder in another process. */
export interface PipeEndAddress {
  readonly endpoint: EndpointAddress;
  /** Name under which the owner expects the new holder; empty for a forked child. */
  readonly claim: string;
}

/** A prepared hand-over. The sender calls `commit` once the message that carries `address` is encoded. */
export interface HandOver {
  readonly address: PipeEndAddress;
  readonly commit: (scope: DeliveryScope | undefined) => void;
}

/** One end of a pipe, as its connection sees it. */
export interface PipeEnd {
  readonly receiveQueue: ReceiveQueue;
  /** The error of `send()`, once the other end has no holder. */
  readonly brokenError: Error | undefined;
  /** Whether senders should wait (back-pressure). */
  readonly isFull: boolean;
  /** Settles when there is room again, or the pipe has ended. */
  drained(): Promise<void>;
  /**
   * Sends a value.
   *
   * @param corked whether the value may stay in a buffer until the caller calls {@link PipeEnd.flush}
   * @returns whether there is room for more
   */
  send(value: unknown, corked?: boolean): boolean;
  flush(): void;
  sendBytes(bytes: Uint8Array): void;
  decode(frame: Frame): unknown;
  /** Makes this process a holder again, if it has handed the end over. */
  markUsed(): void;
  prepareHandOver(): HandOver;
  /**
   * Returns the channel to block on until this end changes.
   *
   * @param deadline latest time, on the clock of `performance`
   * @returns undefined if the deadline has passed
   * @throws {CapabilityError} where a blocked thread could not notice any change
   */
  blockingChannel(call: string, deadline: number): SyncChannel | undefined;
  /** Returns the address that another process dials to reach this end. */
  endpoint(): EndpointAddress;
  close(): void;
}
