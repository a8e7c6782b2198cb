/** The way to libc. Nothing is loaded until somebody asks; where there is none, the reason can be told to the user. */
export type { Fork, ForkCounts, Forker, ForkOptions, ForkReason, ForkRefusal, Surroundings } from "./fork/mod.ts";
export type { Call, Kind, Libc, MissingNative, Native, Signature } from "./native.ts";
export { missingNative, native } from "./open.ts";

/** What forks processes, and what a forked one needs. */
export type Forking = typeof import("./fork/mod.ts");

/** Loads {@link Forking}, which few processes need. */
export function forking(): Promise<Forking> {
  return import("./fork/mod.ts");
}
