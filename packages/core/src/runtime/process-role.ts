/** What this process is to processes that do not run yet. */

import { singleton } from "../registry.ts";
import { afterForkInChild } from "./at-fork.ts";

/** A fork server that other processes can ask for children. */
export interface ForkServerAddress {
  /** The socket where it listens. */
  readonly socketPath: string;
  /** The variables that its children begin with. */
  readonly env: Readonly<Record<string, string>>;
}

interface ProcessRole {
  /** Whether this process keeps modules loaded for other processes to run: an entry that is loaded here must not begin. */
  isStandby: boolean;
  /** The server that this process was forked by; its own children can be too. */
  forkServer: ForkServerAddress | undefined;
}

/** The role of this process. */
export const processRole: ProcessRole = singleton("process role", () => ({ isStandby: false, forkServer: undefined }));
afterForkInChild(() => {
  processRole.isStandby = false;
});

/** The modules of this library that children will run first, by their URLs. */
export const childModules: Set<string> = singleton("child modules", () => new Set());
