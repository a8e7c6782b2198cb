/** Fork servers: loaded only by who uses them, so that a child does not pay for it. */

export { ForkRefusedError } from "./fork-refused-error.ts";
export { ForkServer } from "./fork-server.ts";
export { ForkServerLauncher } from "./fork-server-launcher.ts";
export { ServerConnection } from "./server-connection.ts";
