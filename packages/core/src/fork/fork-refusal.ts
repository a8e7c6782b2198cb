/** Why this process cannot be forked, here or now. */
export type ForkReason =
  /** Not Node on Linux, or a processor that nobody has looked at. */
  | "platform"
  /** There is no way to libc. */
  | "native"
  /** The program has not the symbols or the memory layout that the fork relies on. */
  | "symbols"
  /** `/proc` does not tell what the other threads do. */
  | "proc"
  /** Another thread has an event loop: a worker, the inspector, module hooks. */
  | "event-loops"
  /** The other threads did not come to rest. */
  | "busy-threads"
  /** Operations are under way that would never end in a child. */
  | "requests"
  /** Sockets are open that parent and child would share. */
  | "sockets"
  /** No attempt gave a copy that was taken at rest. */
  | "unstable"
  /** The system refused: too many processes, or too little memory. */
  | "system"
  /** A probe child did not do what children must be able to do. */
  | "self-test";

/** A fork that was not attempted, or did not succeed; nothing has changed. */
export interface ForkRefusal {
  readonly reason: ForkReason;
  /** What stands in the way, as words that can follow "because". */
  readonly message: string;
}

/** Makes a refusal. */
export function refusal(reason: ForkReason, message: string): ForkRefusal {
  return { reason, message };
}
