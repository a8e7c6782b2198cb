import { afterFork, singleton } from "@multiproc/core/internal";

/** The processes that this one keeps to make others from, and that do nothing by themselves: fork servers and spares. */
export const idle: Set<number> = singleton("idle processes", () => new Set());
afterFork(() => idle.clear());
