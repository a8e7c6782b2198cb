/**
 * Fork servers. Loaded on demand, so that processes that start no children by fork do not pay for
 * it.
 */

export { ForkRefusedError } from "./fork-refused-error.ts";
export { ForkServer } from "./fork-server.ts";
export { ForkServerLauncher } from "./fork-server-launcher.ts";
export { ServerConnection } from "./server-connection.ts";
