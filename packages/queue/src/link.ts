import type { Frame, Invitation, WaitOptions } from "@multiproc/core/internal";
import type { Question } from "./protocol.ts";

/** How a `put()` or `get()` waits. */
export interface BlockOptions extends WaitOptions {
  /** Whether to wait at all. @default true */
  readonly block?: boolean;
}

/** How a queue object reaches the items: in this process, or in another. */
export interface Link {
  readonly maxSize: number;
  readonly isJoinable: boolean;
  /** Puts an item; settles when it is the queue's. */
  put(call: string, item: unknown, options: BlockOptions): Promise<void>;
  /** The next item, as it was put. */
  get(call: string, options: BlockOptions): Promise<Frame>;
  ask(call: string, question: Question, argument?: unknown): Promise<unknown>;
  /** Settles when the system has all that was put. */
  flush(): Promise<void>;
  /** By what others reach the items. */
  invitation(): Invitation;
  close(): void;
}
