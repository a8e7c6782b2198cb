import type { Frame, Invitation } from "@multiproc/core/internal";
import type { Inbox } from "./inbox.ts";

/** What a side of a pipe is known by in other processes. */
export interface SideAddress {
  readonly invitation: Invitation;
  /** The number under which a new holder is expected. */
  readonly ticket: string;
}

/** How a connection reaches its side of the pipe: in this process, or in another. */
export interface Link {
  readonly inbox: Inbox;
  /** Why nothing can be sent any more: nobody holds the other side. */
  readonly broken: Error | undefined;
  /** Whether so much is on its way that a sender should wait. */
  readonly full: boolean;
  drained(): Promise<void>;
  send(value: unknown): void;
  sendBytes(bytes: Uint8Array): void;
  decode(frame: Frame): unknown;
  /** The connection is used: it holds its side, also after it was handed on. */
  claim(): void;
  /** Makes an address for a new holder; `commit` hands the side on. */
  address(): { data: SideAddress; commit: (carrier: { onEnd(run: () => void): void } | undefined) => void };
  /** What another process dials to reach this side. */
  invitation(): Invitation;
  close(): void;
}
