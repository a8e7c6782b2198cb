/** The reason why this process cannot be forked, here or now. */
export type ForkReason =
  /** The host is not Node on Linux, or the processor is not supported. */
  | "platform"
  /** libc cannot be called. */
  | "native"
  /** The build of Node lacks the symbols or the memory layout that the fork needs. */
  | "symbols"
  /** `/proc` does not show the states of the other threads. */
  | "proc"
  /** Another thread has an event loop: a worker, the inspector or module hooks. */
  | "event-loops"
  /** The other threads did not become idle in time. */
  | "busy-threads"
  /** Requests of libuv are pending, which would never end in a child. */
  | "requests"
  /** Sockets are open, which parent and child would share. */
  | "sockets"
  /** No attempt produced a consistent copy. */
  | "unstable"
  /** The system refused: too many processes or files, or too little memory. */
  | "system"
  /** A probe child failed the self-test. */
  | "self-test";

/** A fork that was not attempted or has failed, and has had no effect. */
export interface ForkRefusal {
  readonly reason: ForkReason;
  /** The reason as a clause that can follow "because". */
  readonly message: string;
}

/** Creates a refusal. */
export function refusal(reason: ForkReason, message: string): ForkRefusal {
  return { reason, message };
}

/** The refusal on all hosts that cannot fork. */
export const UNSUPPORTED_PLATFORM: ForkRefusal = refusal("platform", "forking requires Node on Linux, on x64 or arm64");
