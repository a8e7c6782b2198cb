/** Forking this process; loaded by those who fork only. */
import type { MissingNative, Native } from "../native.ts";
import { Forker } from "./forker.ts";
import type { ForkRefusal } from "./refusal.ts";

export { disown, estrange } from "./estrangement.ts";
export { type Fork, type ForkCounts, Forker, type ForkOptions } from "./forker.ts";
export { collectGarbage } from "./garbage.ts";
export { type Kid, lookAfter } from "./kids.ts";
export { emptyStocks, replaceMathRandom } from "./randomness.ts";
export { reap } from "./reaping.ts";
export { type ForkReason, type ForkRefusal, refusal } from "./refusal.ts";
export { endWithoutCleanUp, rehearseExit, renewProcess } from "./renewal.ts";
export { quickTest, selfTest } from "./self-test.ts";
export { openSockets, quiesce, settle, underWay } from "./settling.ts";
export {
  changeSurroundings,
  isFolder,
  noteOutput,
  redirectOutput,
  type Surroundings,
  watchOutput,
} from "./surroundings.ts";

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
