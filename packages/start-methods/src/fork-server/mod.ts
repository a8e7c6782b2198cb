/** Fork servers. A process loads this module when it first uses one, to start faster. */

export { ForkRefusedError } from "./fork-refused-error.ts";
export { ForkServer } from "./fork-server.ts";
export { ForkServerLauncher } from "./fork-server-launcher.ts";
export { ServerConnection } from "./server-connection.ts";
