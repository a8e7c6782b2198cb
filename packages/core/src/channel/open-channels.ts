/** The channels of this process that are open, for what must happen to all of them. */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";

/** A channel that can be waited for. */
export interface Flushable {
  flushed(): Promise<void>;
  flush(): void;
}

/** All that are open. */
export const openChannels: Set<Flushable> = singleton("open channels", () => new Set());

afterForkInChild(() => openChannels.clear());

/** Settles when the system has all that was sent on any channel of this process. */
export async function flushChannels(): Promise<void> {
  await Promise.all([...openChannels].map((channel) => channel.flushed()));
}

/** Hands to the system what it takes at once of all that was sent. */
export function flushNow(): void {
  for (const channel of openChannels) channel.flush();
}
