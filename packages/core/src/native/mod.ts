/** The way to libc. Nothing is loaded until somebody asks; where there is none, the reason can be told to the user. */
import type * as Parts from "../fork/mod.ts";
import { native, whyNoNative } from "./open.ts";

export type {
  ChildEnvironment,
  ForkCounts,
  Forker,
  ForkOptions,
  ForkReason,
  ForkRefusal,
  ForkResult,
  ForkSupport,
  WatchedChild,
} from "../fork/mod.ts";
export type { Call, Kind, Libc, Native, NativeUnavailable, Signature } from "./native.ts";
export { detach } from "./native.ts";
export { native, whyNoNative } from "./open.ts";

/** What forks processes, and what a forked one needs. */
export interface Forking extends Omit<typeof Parts, "openForker"> {
  /** What forks this process, or why it cannot be forked. */
  openForker(): Parts.ForkSupport | Parts.ForkRefusal;
}

let loaded: Forking | undefined;

/**
 * Loads {@link Forking}, which few processes need. On Node on Linux only. It is a CommonJS file of the build, since `fork()` is
 * there at once or not at all.
 */
export function forking(): Forking {
  if (loaded === undefined) {
    const { createRequire } = process.getBuiltinModule("node:module");
    const forkModule = createRequire(import.meta.url)("./forking.cjs") as typeof Parts;
    loaded = { ...forkModule, openForker: () => forkModule.openForker(native(), whyNoNative()) };
  }
  return loaded;
}
