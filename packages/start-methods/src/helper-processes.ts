import { afterForkInChild, singleton } from "@multiproc/core/internal";

/** The processes that this one keeps to make others from, and that do nothing by themselves: fork servers and spares. */
export const helperPids: Set<number> = singleton("helper processes", () => new Set());
afterForkInChild(() => helperPids.clear());
