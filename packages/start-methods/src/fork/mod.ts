/** Fork servers: loaded only by who uses them, so that a child does not pay for it. */
export { ServerConnection } from "./connection.ts";
export { ForkServer } from "./fork-server.ts";
export { ForkRefusedError } from "./refused.ts";
export { ForkSource } from "./source.ts";
