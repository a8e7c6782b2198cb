/**
 * The operations for forking this process, and for a forked child. `load.ts` loads them on demand.
 */

import type { ForkRefusal } from "../host/fork-refusal.ts";
import type { Native, NativeUnavailable } from "../native/native.ts";
import { Forker } from "./forker.ts";

export { type ForkReason, type ForkRefusal, refusal } from "../host/fork-refusal.ts";
export {
  applyEnvironment,
  type ChildEnvironment,
  isDirectory,
  recordOutput,
  redirectOutput,
  watchOutput,
} from "./child-environment.ts";
export { type WatchedChild, watchChild } from "./child-watcher.ts";
export { collectGarbage } from "./collect-garbage.ts";
export { detachFds, detachInherited } from "./detach-inherited.ts";
export { type ForkCounts, Forker, type ForkOptions, type ForkResult } from "./forker.ts";
export { openSocketInodes, pendingRequests, quiesce, waitUntilIdle } from "./quiesce.ts";
export { drainRandomPools, replaceMathRandom } from "./reseed-random.ts";
export { exitWithoutCleanup, resetProcess, warmUpExit } from "./reset-process.ts";
export { quickTest, selfTest } from "./self-test.ts";
export { reap } from "./waitpid.ts";

/** The forker of this process, and the access to libc. */
export interface ForkSupport {
  readonly native: Native;
  readonly forker: Forker;
}

let support: ForkSupport | ForkRefusal | undefined;

/** Returns the forker of this process, or the reason why it cannot be forked. */
export function openForker(
  native: Native | undefined,
  whyNoNative: NativeUnavailable | undefined,
): ForkSupport | ForkRefusal {
  if (support !== undefined) return support;
  if (native === undefined) return (support = { reason: "native", message: whyNoNative?.message as string });
  const forker = Forker.open(native);
  return (support = "reason" in forker ? forker : { native, forker });
}
