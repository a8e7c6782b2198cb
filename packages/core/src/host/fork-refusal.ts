/** The reason why this process cannot be forked, here or now. */
export type ForkReason =
  /** The platform is not Node on Linux on x64. */
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
  /** Requests of libuv are pending. They would never end in a child. */
  | "requests"
  /** Sockets are open. Parent and child would share them. */
  | "sockets"
  /** No attempt produced a consistent copy. */
  | "unstable"
  /** The system has reached a limit of processes or files, or has too little memory. */
  | "system"
  /** A probe child failed the self-test. */
  | "self-test";

/** The result of a fork that was not attempted, or that failed without an effect. */
export interface ForkRefusal {
  readonly reason: ForkReason;
  /** The reason as a clause that can follow "because". */
  readonly message: string;
}

/** Creates a refusal. */
export function refusal(reason: ForkReason, message: string): ForkRefusal {
  return { reason, message };
}

/** The platform that a process runs on, by the names that Node uses. */
export interface ForkPlatform {
  /** The runtime: `node`, `deno`. */
  readonly host: string;
  /** The operating system: `linux`. */
  readonly platform: string;
  /** The processor: `x64`. */
  readonly arch: string;
}

/**
 * Returns the reason why no process on a platform can be forked; undefined if the platform is
 * supported.
 */
export function whyNoForkOn({ host, platform, arch }: ForkPlatform): ForkRefusal | undefined {
  const needs = "forking requires Node on Linux on x64";
  if (host !== "node") return refusal("platform", needs);
  if (platform !== "linux") return refusal("platform", `${needs}, and this is ${platform}`);
  return arch === "x64" ? undefined : refusal("platform", `${needs}, and is untested on ${arch}`);
}
