/** The processes that this one keeps for its start method, and that run no code of the program. */
import { afterForkInChild, singleton } from "@multiproc/core/internal";

/**
 * The pids of fork servers, preforked children and spares. `noChildLeft()` of the tests leaves them
 * out.
 */
export const helperPids: Set<number> = singleton("helper processes", () => new Set());
afterForkInChild(() => helperPids.clear());
