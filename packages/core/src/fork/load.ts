/**
 * Loads the code that forks processes, which few processes need.
 *
 * The build bundles that code into a CommonJS file, so that `fork()` can load it synchronously.
 * Only Node on Linux loads it.
 */
import { native, whyNoNative } from "../native/mod.ts";
import type * as ForkModule from "./mod.ts";

/** The operations for forking this process, and for a forked child. */
export interface Forking extends Omit<typeof ForkModule, "openForker"> {
  /** Returns the forker of this process, or the reason why it cannot be forked. */
  openForker(): ForkModule.ForkSupport | ForkModule.ForkRefusal;
}

let loaded: Forking | undefined;

/** Loads {@link Forking} at the first call. */
export function forking(): Forking {
  if (loaded === undefined) {
    const { createRequire } = process.getBuiltinModule("node:module");
    const forkModule = createRequire(import.meta.url)("./forking.cjs") as typeof ForkModule;
    loaded = { ...forkModule, openForker: () => forkModule.openForker(native(), whyNoNative()) };
  }
  return loaded;
}
