/** The entry module of a child: a program, which no module imports. */
import { enter } from "@multiproc/core/child";
import { bootstrap } from "./bootstrap.ts";

export { warmUp } from "./bootstrap.ts";

export const run: (...args: string[]) => Promise<void> = enter(bootstrap);
