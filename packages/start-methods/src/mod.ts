/**
 * How a child process comes to be: the start methods, and which one is used.
 *
 * `spawn` starts a fresh interpreter: the child shares nothing with its parent and loads the modules it needs. It is the
 * default, and works on every host.
 *
 * @module
 */
export { enter, type ParentLink } from "./child.ts";
export { getAllStartMethods, getStartMethod, requireStartMethod, StartMethodError, setStartMethod } from "./context.ts";
export { setExecutable } from "./executable.ts";
export type { Child, StartMethod, StartOptions } from "./method.ts";
export { spawn } from "./spawn.ts";
