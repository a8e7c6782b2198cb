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
  /** The process that keeps the items. */
  readonly home: number;
  /** Puts an item; settles when it is the queue's. */
  put(call: string, item: unknown, options: BlockOptions): Promise<void>;
  /** The next item, as it was put, if it can be had without waiting. */
  take(): Frame | undefined;
  /** Waits for the next item, after `take()` had none. */
  get(call: string, options: BlockOptions): Promise<Frame>;
  ask(call: string, question: Question, argument: unknown, options: WaitOptions): Promise<unknown>;
  /** Settles when the system has all that was put. */
  flush(): Promise<void>;
  /** By what others reach the items. */
  invitation(): Invitation;
  /** Has those who wait here hear of it. */
  close(): void;
}
