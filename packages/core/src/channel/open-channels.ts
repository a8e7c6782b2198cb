/**
 * The open channels of this process, so that all of them can be flushed: at the exit, and before
 * the thread blocks.
 */
import { singleton } from "../registry.ts";
import { afterForkInChild } from "../runtime/at-fork.ts";

/** The part of a channel that is needed to flush it. */
export interface Flushable {
  flushed(): Promise<void>;
  flush(): void;
}

/** All open channels of this process. */
export const openChannels: Set<Flushable> = singleton("open channels", () => new Set());

afterForkInChild(() => openChannels.clear());

/**
 * Settles when the operating system has everything that was sent on any channel of this process.
 */
export async function flushChannels(): Promise<void> {
  await Promise.all([...openChannels].map((channel) => channel.flushed()));
}

/** Flushes all channels, as far as the operating system accepts the bytes at once. */
export function flushNow(): void {
  for (const channel of openChannels) channel.flush();
}
