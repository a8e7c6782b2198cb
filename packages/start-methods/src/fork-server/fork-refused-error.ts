import type { ForkReason, ForkRefusal } from "@multiproc/core/internal";
import { StartMethodError } from "../start-method.ts";

/** A fork was refused, by this host or at this moment. The caller decides what to do instead. */
export class ForkRefusedError extends StartMethodError {
  readonly reason: ForkReason;
  /** The obstacle, in words that can follow "because". */
  readonly explanation: string;

  constructor({ reason, message }: ForkRefusal) {
    super(`A process cannot be forked, because ${message}`);
    this.reason = reason;
    this.explanation = message;
  }
}
