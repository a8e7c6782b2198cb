/** Forking this process; loaded by those who fork only. */
import type { MissingNative, Native } from "../native/native.ts";
import type { ForkRefusal } from "./fork-refusal.ts";
import { Forker } from "./forker.ts";

export {
  changeSurroundings,
  isFolder,
  noteOutput,
  redirectOutput,
  type Surroundings,
  watchOutput,
} from "./child-environment.ts";
export { type Kid, lookAfter } from "./child-watcher.ts";
export { collectGarbage } from "./collect-garbage.ts";
export { disown, estrange } from "./detach-inherited.ts";
export { type ForkReason, type ForkRefusal, refusal } from "./fork-refusal.ts";
export { type Fork, type ForkCounts, Forker, type ForkOptions } from "./forker.ts";
export { openSockets, quiesce, settle, underWay } from "./quiesce.ts";
export { emptyStocks, replaceMathRandom } from "./reseed-random.ts";
export { endWithoutCleanUp, rehearseExit, renewProcess } from "./reset-process.ts";
export { quickTest, selfTest } from "./self-test.ts";
export { reap } from "./waitpid.ts";

/** What forks this process, with the way to libc. */
export interface Opened {
  readonly native: Native;
  readonly forker: Forker;
}

let opened: Opened | ForkRefusal | undefined;

/** What forks this process, or why it cannot be forked. */
export function openForker(native: Native | undefined, missing: MissingNative | undefined): Opened | ForkRefusal {
  if (opened !== undefined) return opened;
  if (native === undefined) return (opened = { reason: "native", message: missing?.message as string });
  const forker = Forker.open(native);
  return (opened = "reason" in forker ? forker : { native, forker });
}
