/**
 * The start methods: how child processes are created, and which method is used.
 *
 * `spawn` starts a new interpreter. The child shares nothing with its parent, and loads the modules
 * that it needs. `spawn` is the default, and works on every host.
 *
 * `forkserver` takes children from processes that have loaded modules in advance; see
 * {@link setForkserverPreload}. On Node on Linux a server forks them. Such a child starts in
 * milliseconds, and shares the memory of the loaded modules until it writes to it. On other hosts
 * the children are spares: interpreters that were started in advance. {@link forkserverKind}
 * reports which of the two is used. The API is the same, and so is what a child can do.
 *
 * `fork` copies this process with its closures and the state of its modules. It is available on
 * Node on Linux, and is refused where a copy would not be safe. `fork` and `forkserver` call the C
 * library by `node:ffi` on Node 26.1 and newer, otherwise by koffi. npm installs koffi unless
 * optional dependencies are omitted. {@link fork}, {@link waitpid} and {@link exec} are the bare
 * system calls.
 *
 * ## When a process dies
 *
 * A fork server ends with the process that it belongs to, and its children end with it; so do
 * spares. If a fork server dies, its children are killed and reported as ended by SIGKILL. The next
 * start creates a new server. A spare that dies is replaced.
 *
 * ## Differences from Python
 *
 * - A child has the environment variables and the working directory that its parent has at the
 *   start, not those of the server.
 * - The server loads no module of the program except those of {@link setForkserverPreload}.
 * - Under `fork`, timers and connections of the parent are disabled in the child. Python leaves
 *   that to the program.
 * - Where processes cannot be forked, `forkserver` is available nevertheless.
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
 * Loads the module of fork servers.
 *
 * @internal
 */
export const loadForkServer = (): Promise<typeof import("./fork-server/mod.ts")> => import("./fork-server/mod.ts");
