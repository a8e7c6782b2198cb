/** Forking this process; loaded by those who fork only. */
import type { Native } from "../native.ts";
import { missingNative, native } from "../open.ts";
import { Forker } from "./forker.ts";
import type { ForkRefusal } from "./refusal.ts";

export { type Fork, type ForkCounts, Forker, type ForkOptions } from "./forker.ts";
export { collectGarbage } from "./garbage.ts";
export { emptyStocks, replaceMathRandom } from "./randomness.ts";
export { reap } from "./reaping.ts";
export { type ForkReason, type ForkRefusal, refusal } from "./refusal.ts";
export { renewProcess } from "./renewal.ts";
export { selfTest } from "./self-test.ts";
export { openSockets, settle } from "./settling.ts";
export { changeSurroundings, isFolder, redirectOutput, type Surroundings, watchOutput } from "./surroundings.ts";

let opened: { native: Native; forker: Forker } | ForkRefusal | undefined;

/** What forks this process, or why it cannot be forked. */
export function openForker(): { native: Native; forker: Forker } | ForkRefusal {
  opened ??= open();
  return opened;
}

function open(): { native: Native; forker: Forker } | ForkRefusal {
  const found = native();
  if (found === undefined) return { reason: "native", message: missingNative()?.message as string };
  const forker = Forker.open(found);
  return "reason" in forker ? forker : { native: found, forker };
}
