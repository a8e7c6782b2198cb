/**
 * How a child process comes to be: the start methods, and which one is used.
 *
 * `spawn` starts a fresh interpreter: the child shares nothing with its parent and loads the modules it needs. It is the
 * default, and works on every host.
 *
 * `forkserver` takes children from a process that has loaded modules before, see {@link setForkserverPreload}. On Node on Linux
 * a server forks them: they start in milliseconds, and share the memory of what was loaded until one
 * of them writes to it. Elsewhere they are spares, which were started beforehand and wait; {@link forkserverKind} tells which.
 * The API and what a child can do are the same.
 *
 * `fork` copies this very process, closures and the state of its modules included, on Node on Linux, and only where that is
 * safe. Both reach the C library by `node:ffi` on Node 26.1 and newer, else by koffi, which npm installs along unless optional
 * dependencies are omitted. {@link fork}, {@link waitpid} and {@link exec} are the system calls alone.
 *
 * ## Closing, and what happens when a process dies
 *
 * A server and its spares end with the process that they belong to, however it ends, and its children with them. A server that
 * dies takes its children with it, which are reported as ended by SIGKILL; the next start has a new one. A spare that dies is
 * replaced.
 *
 * ## Differences from Python
 *
 * - A child has the environment variables and the folder that its parent has at the start, not those of the server.
 * - Nothing of the program is loaded in the server but what {@link setForkserverPreload} names.
 * - Under `fork`, the parent's timers and connections are silent in the child, which Python leaves to the program.
 * - Where a process cannot be forked, `forkserver` is there all the same.
 *
 * @module
 */

export { setExecutable } from "./executable.ts";
export { closeForkserver, forkserverKind, setForkserverPreload } from "./forkserver.ts";
export type { Child, ForkserverKind, StartMethod, StartOptions } from "./launcher.ts";
export { type ExecOptions, exec } from "./os-exec.ts";
export { fork, waitpid } from "./os-fork.ts";
export { start } from "./start.ts";
export {
  getAllStartMethods,
  getStartMethod,
  requireStartMethod,
  StartMethodError,
  setStartMethod,
} from "./start-method.ts";

/**
 * Fork servers; loaded when they are asked for.
 *
 * @internal
 */
export const loadForkServer = (): Promise<typeof import("./fork-server/mod.ts")> => import("./fork-server/mod.ts");
