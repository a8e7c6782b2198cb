/** The entry of a process; it is started, never imported. */
import { enter } from "@multiproc/core/child";
import { bootstrap } from "./bootstrap.ts";

export { warmUp } from "./bootstrap.ts";

export const run: (...args: string[]) => Promise<void> = enter(bootstrap);
