/** The entry of a spawned process; it is started, never imported. */
import { enter } from "@multiproc/start-methods";
import { bootstrap } from "./bootstrap.ts";

export const run: (...args: string[]) => Promise<void> = enter(bootstrap);
