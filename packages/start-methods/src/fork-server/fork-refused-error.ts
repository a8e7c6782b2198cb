import type { ForkReason, ForkRefusal } from "@multiproc/core/internal";
import { StartMethodError } from "../start-method.ts";

/** There is no real fork here, or not now: what is had in its place is for the caller to choose. */
export class ForkRefusedError extends StartMethodError {
  readonly reason: ForkReason;
  /** What stands in the way, as words that can follow "because". */
  readonly explanation: string;

  constructor({ reason, message }: ForkRefusal) {
    super(`A process cannot be forked, because ${message}`);
    this.reason = reason;
    this.explanation = message;
  }
}
