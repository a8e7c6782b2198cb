/**
 * How a child process comes to be: the start methods, and which one is used.
 *
 * `spawn` starts a fresh interpreter: the child shares nothing with its parent and loads the modules it needs. It is the
 * default, and works on every host.
 *
 * @module
 */
export { getAllStartMethods, getStartMethod, requireStartMethod, StartMethodError, setStartMethod } from "./context.ts";
export { type ExecOptions, exec } from "./exec.ts";
export { setExecutable } from "./executable.ts";
export { fork, waitpid } from "./fork.ts";
export { closeForkserver, type ForkserverKind, forkserverKind, setForkserverPreload } from "./forkserver.ts";
export type { Child, StartMethod, StartOptions } from "./method.ts";
export { start } from "./start.ts";

/**
 * Fork servers, which no start method uses yet; loaded when they are asked for.
 *
 * @internal
 */
export const forkServing = (): Promise<typeof import("./fork/mod.ts")> => import("./fork/mod.ts");
