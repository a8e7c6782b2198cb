/** The helper processes of this process, which the program did not start as children. */
import { afterForkInChild, singleton } from "@multiproc/core/internal";

/**
 * The pids of fork servers, preforked children and spares. `noChildLeft()` of the tests leaves them
 * out.
 */
export const helperPids: Set<number> = singleton("helper processes", () => new Set());
afterForkInChild(() => helperPids.clear());
