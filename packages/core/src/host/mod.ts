/** Chooses the adapter for this process: Node or Deno. */
import { DenoHost } from "./deno.ts";
import type { Host } from "./host.ts";
import { NodeHost } from "./node.ts";

/** The host of this process. */
export const host: Host = "Deno" in globalThis ? new DenoHost() : new NodeHost();
